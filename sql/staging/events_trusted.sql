-- purpose: the events of people who agreed to personalization: no bot's, and none of a visitor marked by an anomaly rule
-- grain:   as events_unique
-- inputs:  events_unique; anomalies, of the last ${history_days} days and the 30 more that a mark can last
with

events as (
  select *
  from `${dataset}.events_unique`
),

-- As the pipeline reads metadata: a bot's event names its reason as a text; of a stated consent only true is one.
agreed as (
  select *
  from events
  where metadata is null
    or (
      not coalesce(starts_with(json_query(metadata, '$.bot'), '"'), false)
      and (
        coalesce(json_query(metadata, '$.consent'), 'null') = 'null'
        or coalesce(json_query(metadata, '$.consent.personalization'), 'null') = 'true'
      )
    )
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
  from agreed
  where not exists (
    select 1
    from marks
    where marks.visitor = agreed.visitor
      and marks.found_at <= agreed.timestamp
      and marks.marked_until > agreed.timestamp
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
  metadata,
  site,
  sender
from unmarked
