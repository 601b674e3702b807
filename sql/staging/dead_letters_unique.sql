-- purpose: dead letters under a name that stays, without the doubles that at-least-once delivery leaves
-- grain:   one row per dead_letter_id, a hash of time, reason and content
-- inputs:  dead_letters, of the last ${history_days} days
with

dead_letters as (
  select *
  from `${dataset}.dead_letters`
  where received_at >= timestamp_sub(current_timestamp(), interval ${history_days} day)
),

-- a hash of hashes: no content of one column can pass for that of two. Attributes stay out, their order is not kept
identified as (
  select
    *,
    to_hex(sha256(concat(
      to_hex(sha256(cast(unix_micros(received_at) as string))),
      to_hex(sha256(coalesce(source, ''))),
      to_hex(sha256(coalesce(field, ''))),
      to_hex(sha256(coalesce(reason, ''))),
      to_hex(sha256(coalesce(encoding, ''))),
      to_hex(sha256(coalesce(payload, '')))
    ))) as dead_letter_id
  from dead_letters
),

one_of_each as (
  select *
  from identified
  qualify row_number() over (partition by dead_letter_id order by received_at) = 1
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
from one_of_each
