-- purpose: which campaign was due for whom and when, as told on the topic of campaigns
-- grain:   one row per trigger and emission; an emission again has the same id
-- inputs:  the pipeline, from its campaign rules
create table if not exists `${dataset}.campaigns` (
  id string not null options (description = 'The trigger; hash of visitor, rule and the window of the cooldown'),
  visitor string not null options (description = 'Key of the profile: u#<user_id>, or a#<anonymous_id>'),
  rule string not null options (description = 'Name of the rule in the file of rules'),
  channel string options (description = 'How the rule wants to speak, e.g. email'),
  due_at timestamp not null options (description = 'When the conditions of the rule held'),
  emitted_at timestamp options (description = 'When the trigger was sent'),
  signals string options (description = 'What the rule carries, signal to number, as JSON text')
)
partition by date(due_at)
cluster by rule, visitor
options (description = 'Campaigns that were due, at least once');
