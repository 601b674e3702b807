-- purpose: what in the traffic was not what people do, and how long it is to be left out
-- grain:   one row per finding and emission; an emission again has the same id
-- inputs:  the pipeline, from its anomaly rules
create table if not exists `${dataset}.anomalies` (
  id string not null options (description = 'The finding; hash of subject, rule and the window of the mark'),
  visitor string options (description = 'Key of the profile; null where an address as a whole was found'),
  address string options (description = 'Key of the network address; null where the rule is about visitors'),
  rule string not null options (description = 'Name of the rule in the file of rules'),
  severity string options (description = 'low, medium or high'),
  found_at timestamp not null options (description = 'When the conditions of the rule held; the mark begins'),
  marked_until timestamp options (description = 'When the mark ends, itself outside; null where the rule does not mark'),
  emitted_at timestamp options (description = 'When the finding was sent'),
  signals string options (description = 'What was found, signal to number, as JSON text')
)
partition by date(found_at)
cluster by visitor, rule
options (description = 'Anomalies in the traffic, at least once');
