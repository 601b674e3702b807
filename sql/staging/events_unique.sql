-- purpose: the log without the doubles that at-least-once delivery leaves
-- grain:   one row per site, event_id, event and product_id if a server sent it, otherwise one for each visitor of these
-- inputs:  events, of the last ${history_days} days
with

events as (
  select *
  from `${dataset}.events`
  where timestamp >= timestamp_sub(current_timestamp(), interval ${history_days} day)
),

-- Whoever reads a page can make up an event id: a server's event replaces browsers', which replace each other's never.
with_origin as (
  select
    *,
    if(
      logical_or(coalesce(sender = 'server', false)) over (partition by site, event_id, event, product_id),
      null,
      visitor
    ) as only_visitor
  from events
),

first_ingested as (
  select *
  from with_origin
  qualify row_number() over (
    partition by site, event_id, event, product_id, only_visitor
    order by coalesce(sender = 'server', false) desc, ingest_time, timestamp
  ) = 1
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
from first_ingested
