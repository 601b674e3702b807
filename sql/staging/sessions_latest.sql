-- purpose: sessions as they stand now, late events included
-- grain:   one row per session: of several emissions the newest, and none that a newer, longer one took in
-- inputs:  sessions, of the last ${history_days} days
with

sessions as (
  select *
  from `${dataset}.sessions`
  where session_start >= timestamp_sub(current_timestamp(), interval ${history_days} day)
),

newest as (
  select *
  from sessions
  qualify row_number() over (partition by visitor, session_start order by emitted_at desc, events desc) = 1
),

-- a late event can join two sessions, or begin one earlier: the joined session then covers the start of the old row
standing as (
  select *
  from newest
  where not exists (
    select 1
    from newest as newer
    where newer.visitor = newest.visitor
      and newer.emitted_at > newest.emitted_at
      and newer.session_start < newest.session_start
      and newer.session_end >= newest.session_start
  )
)

select
  visitor,
  session_start,
  session_end,
  events,
  views,
  clicks,
  carts,
  purchases,
  impressions,
  items,
  categories,
  revenue,
  dwell_s,
  top_category,
  first_event,
  emitted_at
from standing
