-- purpose: a summary per session, written when the session closes and again when late events refine it
-- grain:   one row per visitor, session and emission (see the view sessions_latest for one row per session)
-- inputs:  the pipeline's session windows
create table if not exists `${dataset}.sessions` (
  visitor string not null options (description = 'Key of the profile: u#<user_id>, or a#<anonymous_id>'),
  session_start timestamp not null options (description = 'Time of the first event'),
  session_end timestamp options (description = 'Time of the last event'),
  events int64 options (description = 'Events of any name'),
  views int64 options (description = 'view_product events'),
  clicks int64 options (description = 'click events'),
  carts int64 options (description = 'add_to_cart events'),
  purchases int64 options (description = 'purchase events'),
  impressions int64 options (description = 'impression events'),
  items int64 options (description = 'Different products clicked, viewed, put into the cart, bought or played, up to 500'),
  categories int64 options (description = 'Different categories of these events, up to 500'),
  revenue float64 options (description = 'Price (else that of the catalog) times quantity, summed over the purchases'),
  dwell_s float64 options (description = 'Seconds that the dwell events report'),
  top_category string options (description = 'Category with the most of these events'),
  first_event string options (description = 'Name of the first event'),
  emitted_at timestamp options (description = 'When this summary was made; the newest one holds')
)
partition by date(session_start)
cluster by visitor
options (description = 'Session summaries; a late event adds a newer row');
