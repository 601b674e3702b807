-- purpose: who was shown something that an experiment makes a difference to, in which variant, and since when
-- grain:   one row per experiment, variant and visitor
-- inputs:  events_trusted
with

impressions as (
  select visitor, timestamp, request_id, json_value_array(metadata, '$.experiments') as experiments
  from `${dataset}.events_trusted`
  where event = 'impression'
),

named as (
  select visitor, timestamp, request_id, split(entry, '=') as parts
  from impressions, unnest(experiments) as entry
)

select
  parts[safe_offset(0)] as experiment,
  parts[safe_offset(1)] as variant,
  visitor,
  min(timestamp) as first_shown_at,
  max(timestamp) as last_shown_at,
  count(distinct request_id) as slates
from named
group by experiment, variant, visitor
