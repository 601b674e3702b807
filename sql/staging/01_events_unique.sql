-- purpose: the log without the doubles that at-least-once delivery leaves
-- grain:   one row per event_id; of doubles the one ingested first
-- inputs:  events, of the last ${history_days} days
with

events as (
  select *
  from `${dataset}.events`
  where timestamp >= timestamp_sub(current_timestamp(), interval ${history_days} day)
),

first_ingested as (
  select *
  from events
  qualify row_number() over (partition by event_id order by ingest_time, timestamp) = 1
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
  site
from first_ingested
