# What must hold in any plan: nothing is lost, nothing grows for ever, names are those that the programs expect.

variables {
  project_id   = "demo-project"
  cors_origins = ["https://shop.example.com", "https://www.example.com"]
}

run "nothing_is_lost" {
  command = plan

  assert {
    condition = alltrue([
      for subscription in google_pubsub_subscription.this :
      subscription.retain_acked_messages && subscription.message_retention_duration == "604800s"
    ])
    error_message = "Both subscriptions keep acknowledged messages for 7 days."
  }

  assert {
    condition = alltrue([
      for subscription in google_pubsub_subscription.this :
      subscription.expiration_policy[0].ttl == ""
    ])
    error_message = "No subscription expires when nobody reads for a while."
  }

  assert {
    condition = alltrue([
      for topic in google_pubsub_topic.this :
      topic.message_retention_duration == "604800s" && topic.deletion_policy == "PREVENT"
    ])
    error_message = "Every topic keeps its messages for 7 days, for those who subscribe later, and is protected."
  }

  assert {
    condition     = google_pubsub_subscription.this["events"].dead_letter_policy[0].max_delivery_attempts == 100
    error_message = "Pub/Sub gives up on a message only after 100 attempts."
  }

  assert {
    condition     = length(google_pubsub_subscription.this["dead_letters"].dead_letter_policy) == 0
    error_message = "A dead letter never becomes a dead letter again."
  }

  assert {
    condition = (
      google_pubsub_topic_iam_member.pubsub_gives_dead_letters.role == "roles/pubsub.publisher" &&
      google_pubsub_topic_iam_member.pubsub_gives_dead_letters.topic == "dead-letters" &&
      google_pubsub_subscription_iam_member.pubsub_takes_events.role == "roles/pubsub.subscriber" &&
      google_pubsub_subscription_iam_member.pubsub_takes_events.subscription == "events-pipeline"
    )
    error_message = "Pub/Sub's service agent may take from the events and give to the dead letters."
  }

  assert {
    condition = (
      google_bigtable_instance.freshet.deletion_protection &&
      !google_bigquery_dataset.freshet.delete_contents_on_destroy &&
      !google_storage_bucket.artifacts.force_destroy &&
      google_pubsub_topic.this["events"].deletion_policy == "PREVENT" &&
      google_pubsub_subscription.this["events"].deletion_policy == "PREVENT"
    )
    error_message = "Stores, topics and subscriptions are protected from deletion."
  }
}

run "programs_are_told_what_they_expect" {
  command = plan

  assert {
    condition = (
      toset([for topic in google_pubsub_topic.this : topic.name]) == toset(["events", "dead-letters", "campaigns", "anomalies"]) &&
      toset([for subscription in google_pubsub_subscription.this : subscription.name]) == toset(["events-pipeline", "dead-letters-pipeline"]) &&
      google_bigtable_instance.freshet.name == "freshet" &&
      google_bigquery_dataset.freshet.dataset_id == "freshet"
    )
    error_message = "Topics, subscriptions, instance and dataset have the names of the local stack."
  }

  assert {
    condition = (
      google_cloudfunctions2_function.collector.service_config[0].environment_variables.FRESHET_EVENTS_TOPIC == "events" &&
      google_cloudfunctions2_function.collector.service_config[0].environment_variables.FRESHET_CORS_ORIGINS == "https://shop.example.com,https://www.example.com" &&
      google_cloudfunctions2_function.collector.service_config[0].environment_variables.FUNCTION_USE_ASGI == "true"
    )
    error_message = "The collector is told its topics and origins, and runs as an ASGI function."
  }

  assert {
    condition     = local.api_environment.FRESHET_VERTEX_ENDPOINT == "projects/demo-project/locations/us-central1/endpoints/1001"
    error_message = "The API is told the endpoint by its full name."
  }

  assert {
    condition = (
      google_dataflow_flex_template_job.pipeline.enable_streaming_engine &&
      google_dataflow_flex_template_job.pipeline.parameters.write_after_commit == "yes" &&
      google_dataflow_flex_template_job.pipeline.on_delete == "drain"
    )
    error_message = "The job runs on Streaming Engine, writes what is committed, and is drained when it goes."
  }

  assert {
    condition = (
      google_dataflow_flex_template_job.pipeline.container_spec_gcs_path == "gs://demo-project-freshet-artifacts/releases/0.1.0/pipeline.json" &&
      google_dataflow_flex_template_job.pipeline.sdk_container_image == "us-central1-docker.pkg.dev/demo-project/freshet/pipeline:0.1.0"
    )
    error_message = "Template and image are those of the release."
  }

  assert {
    condition     = length(google_cloudfunctions2_function.collector.service_config[0].secret_environment_variables) == 0
    error_message = "Without a version of a key, the collector has no key."
  }

  assert {
    condition     = google_dataflow_flex_template_job.pipeline.parameters.rules == "default"
    error_message = "The pipeline goes by the rules in its image."
  }
}

run "nothing_grows_for_ever" {
  command = plan

  assert {
    condition     = toset(keys(google_bigtable_gc_policy.this)) == toset(["profiles/p", "items/c", "items/s", "trending/t", "queries/q", "policies/b", "leases/l", "catalog_changes/n"])
    error_message = "Every family of every table has a garbage collection policy."
  }

  assert {
    condition = alltrue([
      for policy in google_bigtable_gc_policy.this : contains([
        for rule in jsondecode(policy.gc_rules).rules : try(rule.max_version, 0)
      ], 1)
    ])
    error_message = "Every family keeps one version."
  }

  assert {
    condition = (
      jsondecode(google_bigtable_gc_policy.this["profiles/p"].gc_rules).mode == "union" &&
      jsondecode(google_bigtable_gc_policy.this["profiles/p"].gc_rules).rules[1].max_age == "2160h"
    )
    error_message = "A profile is forgotten 90 days after the last event."
  }

  assert {
    condition = alltrue([
      for family in ["items/s", "trending/t", "queries/q"] :
      jsondecode(google_bigtable_gc_policy.this[family].gc_rules).rules[1].max_age == "2160h"
    ])
    error_message = "What events say of an item or a scope is forgotten 90 days after the last of them."
  }

  assert {
    condition     = length(jsondecode(google_bigtable_gc_policy.this["items/c"].gc_rules).rules) == 1
    error_message = "The catalog is never forgotten by age."
  }

  assert {
    condition = alltrue([
      for table in google_bigquery_table.this :
      table.time_partitioning[0].type == "DAY" && length(table.clustering) > 0 && table.deletion_protection
    ])
    error_message = "Every log table is partitioned by day, clustered and protected."
  }

  assert {
    condition     = google_bigquery_table.this["events"].time_partitioning[0].field == "timestamp"
    error_message = "Events are partitioned by event time."
  }

  assert {
    condition     = alltrue([for query in values(local.view_queries) : !strcontains(query, "$${")])
    error_message = "No placeholder is left in a view."
  }

  assert {
    condition     = strcontains(google_bigquery_table.views_2["funnel_daily"].view[0].query, "`demo-project.freshet.events_unique`")
    error_message = "A mart reads staging by its full name."
  }

  assert {
    condition = (
      setunion(keys(google_bigquery_table.views_1), keys(google_bigquery_table.views_2), keys(google_bigquery_table.views_3)) == toset(keys(local.warehouse.views)) &&
      contains(keys(google_bigquery_table.views_1), "events_unique") &&
      contains(keys(google_bigquery_table.views_2), "events_trusted") &&
      contains(keys(google_bigquery_table.views_3), "ctr_by_variant")
    )
    error_message = "Every view is made, one that reads another after it."
  }
}

run "what_is_asked_for_is_given" {
  command = plan

  variables {
    profile_ttl_days     = 30
    item_ttl_days        = 20
    max_items            = 5000
    snapshot_memory      = "4Gi"
    snapshot_schedule    = "5 3 * * *"
    api_memory           = "2Gi"
    log_retention_days   = 10
    mart_history_days    = 7
    pipeline_subnetwork  = "regions/us-central1/subnetworks/private"
    backfill_key_version = "1"
    address_key_version  = "2"
    sites_version        = "3"
    field_key_version    = "4"
    user_key_version     = "5"
    api_keys_version     = "6"
    collector_settings   = { FRESHET_DEFAULT_CONSENT = "denied" }
    pipeline_rules       = "gs://demo-project-freshet-artifacts/rules/1.yaml"
    deletion_protection  = false
    rule_listeners       = ["serviceAccount:mailer@demo-project.iam.gserviceaccount.com"]
  }

  assert {
    condition = (
      toset([for member in google_pubsub_topic_iam_member.listeners_attach : member.topic]) == toset(["campaigns", "anomalies"]) &&
      alltrue([
        for member in google_pubsub_topic_iam_member.listeners_attach :
        member.role == "roles/pubsub.subscriber" && member.member == "serviceAccount:mailer@demo-project.iam.gserviceaccount.com"
      ])
    )
    error_message = "rule_listeners may attach subscriptions to both topics, and no more."
  }

  assert {
    condition     = jsondecode(google_bigtable_gc_policy.this["profiles/p"].gc_rules).rules[1].max_age == "720h"
    error_message = "profile_ttl_days sets the age at which a profile is forgotten."
  }

  assert {
    condition = (
      jsondecode(google_bigtable_gc_policy.this["items/s"].gc_rules).rules[1].max_age == "480h" &&
      local.api_environment.FRESHET_ITEM_TTL_DAYS == "20"
    )
    error_message = "item_ttl_days sets the age at which Bigtable forgets and the API stops reading."
  }

  assert {
    condition = (
      local.api_environment.FRESHET_MAX_ITEMS == "5000" &&
      google_cloud_run_v2_service.api.template[0].containers[0].resources[0].limits.memory == "2Gi"
    )
    error_message = "max_items and api_memory are the API's."
  }

  assert {
    condition = (
      google_cloud_scheduler_job.snapshot.schedule == "5 3 * * *" &&
      google_cloud_run_v2_job.snapshot.template[0].template[0].containers[0].resources[0].limits.memory == "4Gi" &&
      contains(google_cloud_run_v2_job.snapshot.template[0].template[0].containers[0].env[*].value, local.api_environment.FRESHET_SNAPSHOT_DIR)
    )
    error_message = "snapshot_schedule and snapshot_memory are the snapshot job's, which writes where the API reads."
  }

  assert {
    condition     = alltrue([for table in google_bigquery_table.this : table.time_partitioning[0].expiration_ms == 864000000])
    error_message = "log_retention_days sets when a day of the log is deleted."
  }

  assert {
    condition     = strcontains(google_bigquery_table.views_1["events_unique"].view[0].query, "interval 7 day")
    error_message = "mart_history_days sets how far back views look."
  }

  assert {
    condition     = google_dataflow_flex_template_job.pipeline.ip_configuration == "WORKER_IP_PRIVATE"
    error_message = "Workers in a subnetwork of ours have private addresses only."
  }

  assert {
    condition = {
      for variable in google_cloudfunctions2_function.collector.service_config[0].secret_environment_variables :
      variable.key => "${variable.secret}/${variable.version}"
      } == {
      FRESHET_BACKFILL_KEY = "freshet-backfill-key/1"
      FRESHET_ADDRESS_KEY  = "freshet-address-key/2"
      FRESHET_SITES        = "freshet-sites/3"
      FRESHET_FIELD_KEY    = "freshet-field-key/4"
      FRESHET_USER_KEY     = "freshet-user-key/5"
    }
    error_message = "With a version of a secret, the collector is given it."
  }

  assert {
    condition     = google_cloudfunctions2_function.collector.service_config[0].environment_variables.FRESHET_DEFAULT_CONSENT == "denied"
    error_message = "collector_settings reach the collector."
  }

  assert {
    condition = (
      local.api_environment.FRESHET_DEFAULT_CONSENT == "denied" &&
      toset([
        for env in google_cloud_run_v2_service.api.template[0].containers[0].env :
        env.name if length(env.value_source) == 1
      ]) == toset(["FRESHET_FIELD_KEY", "FRESHET_USER_KEY", "FRESHET_API_KEYS"])
    )
    error_message = "The API keeps the collector's promises to visitors, with the same keys."
  }

  assert {
    condition     = google_dataflow_flex_template_job.pipeline.parameters.rules == "gs://demo-project-freshet-artifacts/rules/1.yaml"
    error_message = "pipeline_rules names the file of rules."
  }

  assert {
    condition = (
      !google_bigtable_instance.freshet.deletion_protection &&
      google_bigquery_dataset.freshet.delete_contents_on_destroy &&
      google_storage_bucket.artifacts.force_destroy &&
      google_pubsub_topic.this["events"].deletion_policy == "DELETE"
    )
    error_message = "With deletion_protection = false everything can be torn down."
  }
}

run "bad_values_are_refused" {
  command = plan

  variables {
    project_id            = "Demo"
    region                = "us-central1-b"
    release               = "v1/2"
    cors_origins          = ["shop.example.com"]
    collector_settings    = { FRESHET_FIELD_KEY = "a secret in the wrong place" }
    collector_instances   = { min = 3, max = 2 }
    api_settings          = { PATH = "/" }
    api_instances         = { min = -1, max = 2 }
    vertex_endpoint_id    = "0123"
    pipeline_workers      = { first = 0, max = 5 }
    pipeline_subnetwork   = "private"
    pipeline_rules        = "my-rules.yaml"
    rule_listeners        = ["allUsers"]
    dataset               = "my-data"
    log_retention_days    = 0.5
    mart_history_days     = 0
    max_delivery_attempts = 4
    bigtable_nodes        = { min = 0, max = 1 }
    profile_ttl_days      = 0
    item_ttl_days         = 0
    max_items             = 0
    snapshot_memory       = "4GB"
    api_memory            = "1GB"

    message_retention_days = 8
  }

  expect_failures = [
    var.project_id,
    var.region,
    var.release,
    var.cors_origins,
    var.collector_settings,
    var.collector_instances,
    var.api_settings,
    var.api_instances,
    var.vertex_endpoint_id,
    var.pipeline_workers,
    var.pipeline_subnetwork,
    var.pipeline_rules,
    var.rule_listeners,
    var.dataset,
    var.log_retention_days,
    var.mart_history_days,
    var.message_retention_days,
    var.max_delivery_attempts,
    var.bigtable_nodes,
    var.profile_ttl_days,
    var.item_ttl_days,
    var.max_items,
    var.snapshot_memory,
    var.api_memory,
  ]
}
