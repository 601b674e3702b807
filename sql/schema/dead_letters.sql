-- purpose: what was rejected and why, whole, so that it can be mended and sent again
-- grain:   one row per rejected event or unreadable body
-- inputs:  the pipeline, from the topic of dead letters
create table if not exists `${dataset}.dead_letters` (
  received_at timestamp not null options (description = 'When it was rejected'),
  source string options (description = 'Who rejected it: collector or pipeline; unknown where the message names nobody'),
  field string options (description = 'Field that broke the contract'),
  reason string options (description = 'What was expected of the field'),
  payload string options (description = 'The bytes as they came, see encoding'),
  encoding string options (description = 'How payload holds the bytes: utf-8 or base64'),
  attributes string options (description = 'Attributes of the message, as JSON text')
)
partition by date(received_at)
cluster by source, field
options (description = 'Rejected events with their reason');
