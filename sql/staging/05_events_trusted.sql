-- purpose: the events of people: without those that a visitor sent while marked by an anomaly rule
-- grain:   one row per event_id
-- inputs:  events_unique; anomalies, of the last ${history_days} days and the 30 more that a mark can last
with

events as (
  select *
  from `${dataset}.events_unique`
),

marks as (
  select visitor, found_at, marked_until
  from `${dataset}.anomalies`
  where found_at >= timestamp_sub(timestamp_sub(current_timestamp(), interval ${history_days} day), interval 30 day)
    and visitor is not null
    and marked_until is not null
),

unmarked as (
  select *
  from events
  where not exists (
    select 1
    from marks
    where marks.visitor = events.visitor
      and marks.found_at <= events.timestamp
      and marks.marked_until > events.timestamp
  )
)

select
  event_id,
  event,
  visitor,
  user_id,
  anonymous_id,
  session_id,
  product_id,
  timestamp,
  ingest_time,
  category,
  brand,
  price,
  query,
  request_id,
  placement,
  variant,
  position,
  propensity,
  metadata
from unmarked
