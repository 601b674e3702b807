-- purpose: the log of every accepted event, as the pipeline read it; may hold an event more than once
-- grain:   one row per event and delivery (see the view events_unique for one row per event)
-- inputs:  the pipeline, from the topic of events
create table if not exists `${dataset}.events` (
  event_id string not null options (description = 'Made by the client, or derived from the content; the same event keeps it'),
  event string not null options (description = 'Name of what happened: view_product, click, purchase, or a custom name'),
  visitor string not null options (description = 'Key of the profile: u#<user_id>, or a#<anonymous_id> before a login'),
  user_id string options (description = 'The account, once the visitor has logged in'),
  anonymous_id string options (description = 'The browser or device'),
  session_id string options (description = 'The session as the client counts it'),
  product_id string options (description = 'The product the event is about'),
  timestamp timestamp not null options (description = 'Event time: when it happened, client clock repaired'),
  ingest_time timestamp options (description = 'When the collector accepted it, or it was replayed from the dead letters'),
  category string options (description = 'Category of the product, from the catalog or else from the event'),
  brand string options (description = 'Brand of the product, from the catalog or else from the event'),
  price float64 options (description = 'Price of one piece in the currency of the shop, from the event or else from the catalog'),
  query string options (description = 'What was searched for'),
  request_id string options (description = 'The slate that the event answers to'),
  placement string options (description = 'Where on the page the slate was shown, e.g. home'),
  variant string options (description = 'Arm of the experiment that made the slate, e.g. personalized'),
  position int64 options (description = 'Place in the slate, from 0'),
  propensity float64 options (description = 'Probability with which the item was put there, meant to be in (0, 1]'),
  metadata string options (description = 'All metadata of the event, as JSON text'),
  site string options (description = 'Site whose write key the event came with, or default; null where unknown'),
  sender string options (description = 'Who answers for the event id: server, by its write key, or browser; null where unknown')
)
partition by date(timestamp)
cluster by event, visitor
options (description = 'Log of accepted events, at least once');
