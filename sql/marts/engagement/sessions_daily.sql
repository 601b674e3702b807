-- purpose: how long sessions last and what they bring, day by day
-- grain:   one row per day (UTC) on which sessions started
-- inputs:  sessions_latest
with

sessions as (
  select
    date(session_start) as day,
    visitor,
    timestamp_diff(session_end, session_start, millisecond) / 1000 as length_s,
    events,
    purchases > 0 as converted,
    revenue
  from `${dataset}.sessions_latest`
),

with_median as (
  select *, percentile_cont(length_s, 0.5) over (partition by day) as median_length_s
  from sessions
),

counted as (
  select
    day,
    count(*) as sessions,
    count(distinct visitor) as visitors,
    any_value(median_length_s) as median_length_s,
    avg(length_s) as avg_length_s,
    avg(events) as avg_events,
    countif(converted) as converted_sessions,
    sum(revenue) as revenue
  from with_median
  group by day
)

select
  day,
  sessions,
  visitors,
  median_length_s,
  avg_length_s,
  avg_events,
  converted_sessions,
  safe_divide(converted_sessions, sessions) as conversion_rate,
  coalesce(revenue, 0.0) as revenue,
  safe_divide(coalesce(revenue, 0.0), sessions) as revenue_per_session
from counted
