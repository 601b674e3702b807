-- purpose: orders, each with its value once: every purchase of an order carries order_value, so a sum over them multiplies it
-- grain:   one row per site and order_id if a server sent the order, otherwise one for each visitor of these
-- inputs:  events_unique, of it purchases with an order_id
with

purchases as (
  select
    site,
    sender,
    visitor,
    product_id,
    timestamp,
    price,
    json_value(metadata, '$.order_id') as order_id,
    json_value(metadata, '$.currency') as currency,
    safe_cast(json_value(metadata, '$.order_value') as float64) as order_value,
    coalesce(safe_cast(json_value(metadata, '$.quantity') as float64), 1.0) as quantity
  from `${dataset}.events_unique`
  where event = 'purchase' and json_value(metadata, '$.order_id') is not null
),

with_origin as (
  select *, logical_or(coalesce(sender = 'server', false)) over (partition by site, order_id) as has_server
  from purchases
),

-- Whoever reads a page can make up an order: where a server sent it, only what a server sent counts.
of_origin as (
  select *, if(has_server, null, visitor) as only_visitor
  from with_origin
  where sender = 'server' or not has_server
),

orders as (
  select
    site,
    order_id,
    only_visitor,
    min(visitor) as visitor,
    min(sender) as sender,
    min(timestamp) as ordered_at,
    count(*) as purchases,
    count(distinct product_id) as products,
    sum(quantity) as pieces,
    max(order_value) as order_value,
    sum(price * quantity) as products_value,
    min(currency) as currency
  from of_origin
  group by site, order_id, only_visitor
)

select
  site,
  order_id,
  visitor,
  sender,
  ordered_at,
  purchases,
  products,
  pieces,
  order_value,
  products_value,
  currency
from orders
