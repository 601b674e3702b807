-- purpose: how many visitors go from a product page to the cart to a purchase, day by day
-- grain:   one row per day (UTC); a visitor counts once a day and step, and only with the steps before it on that day
-- inputs:  events_unique
with

events as (
  select visitor, event, date(timestamp) as day
  from `${dataset}.events_unique`
  where event in ('view_product', 'add_to_cart', 'purchase')
),

visitor_days as (
  select
    day,
    visitor,
    logical_or(event = 'view_product') as viewed,
    logical_or(event = 'add_to_cart') as carted,
    logical_or(event = 'purchase') as purchased
  from events
  group by day, visitor
),

steps as (
  select
    day,
    countif(viewed) as view_visitors,
    countif(viewed and carted) as cart_visitors,
    countif(viewed and carted and purchased) as purchase_visitors,
    countif(purchased) as buyers
  from visitor_days
  group by day
)

select
  day,
  view_visitors,
  cart_visitors,
  purchase_visitors,
  buyers,
  safe_divide(cart_visitors, view_visitors) as view_to_cart_rate,
  safe_divide(purchase_visitors, cart_visitors) as cart_to_purchase_rate,
  safe_divide(purchase_visitors, view_visitors) as view_to_purchase_rate
from steps
