-- purpose: which dead letters were dealt with, so that a second replay does not repeat them
-- grain:   one row per dead letter and replay
-- inputs:  `make dead-letters`, its command replay
create table if not exists `${dataset}.dead_letters_replayed` (
  dead_letter_id string not null options (description = 'The dead letter, as the view dead_letters_unique names it'),
  replayed_at timestamp not null options (description = 'When its events were published'),
  outcome string options (description = 'replayed: all of it; split: the good events, the others are dead letters of their own'),
  events int64 options (description = 'Events that were published'),
  refused int64 options (description = 'Events that still broke the contract')
)
partition by date(replayed_at)
cluster by dead_letter_id
options (description = 'Dead letters that were replayed');
