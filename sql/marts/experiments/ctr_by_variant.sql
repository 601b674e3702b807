-- purpose: click-through rate of what people were shown, with its 95% Wilson interval (Wilson, JASA 1927)
-- grain:   one row per placement and variant; an impression is one product in one slate, clicked at least once or not
-- inputs:  events_trusted
with

impressions as (
  select request_id, product_id, placement, variant, min(timestamp) as shown_at
  from `${dataset}.events_trusted`
  where event = 'impression' and request_id is not null
  group by request_id, product_id, placement, variant
),

clicks as (
  select request_id, product_id, count(*) as clicks
  from `${dataset}.events_trusted`
  where event = 'click' and request_id is not null
  group by request_id, product_id
),

joined as (
  select
    impressions.placement,
    impressions.variant,
    impressions.request_id,
    impressions.shown_at,
    clicks.clicks is not null as clicked
  from impressions
  left join clicks
    on impressions.request_id = clicks.request_id and impressions.product_id = clicks.product_id
),

counted as (
  select
    placement,
    variant,
    min(shown_at) as first_shown_at,
    max(shown_at) as last_shown_at,
    count(distinct request_id) as slates,
    count(*) as impressions,
    countif(clicked) as clicked_impressions
  from joined
  group by placement, variant
),

rates as (
  select
    *,
    safe_divide(clicked_impressions, impressions) as ctr,
    safe_divide(1.959964 * 1.959964, impressions) as z2_over_n
  from counted
),

wilson as (
  select
    *,
    safe_divide(ctr + z2_over_n / 2, 1 + z2_over_n) as centre,
    safe_divide(
      sqrt(z2_over_n * ctr * (1 - ctr) + z2_over_n * z2_over_n / 4),
      1 + z2_over_n
    ) as half_width
  from rates
)

select
  placement,
  variant,
  first_shown_at,
  last_shown_at,
  slates,
  impressions,
  clicked_impressions,
  ctr,
  greatest(0.0, centre - half_width) as ctr_low,
  least(1.0, centre + half_width) as ctr_high
from wilson
