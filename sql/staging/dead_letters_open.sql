-- purpose: dead letters that nobody has replayed yet
-- grain:   one row per dead_letter_id
-- inputs:  dead_letters_unique; dead_letters_replayed, of the last ${history_days} days
with

dead_letters as (
  select *
  from `${dataset}.dead_letters_unique`
),

replayed as (
  select dead_letter_id
  from `${dataset}.dead_letters_replayed`
  where replayed_at >= timestamp_sub(current_timestamp(), interval ${history_days} day)
),

not_replayed as (
  select *
  from dead_letters
  where not exists (
    select 1
    from replayed
    where replayed.dead_letter_id = dead_letters.dead_letter_id
  )
)

select
  dead_letter_id,
  received_at,
  source,
  field,
  reason,
  payload,
  encoding,
  attributes
from not_replayed
