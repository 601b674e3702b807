# Least rights: nobody may do more than their own work needs.

variables {
  project_id = "demo-project"
}

run "nobody_may_do_more_than_needed" {
  command = plan

  assert {
    condition = toset([
      google_project_iam_member.builder_reads_function_sources.role,
      google_project_iam_member.builder_writes_logs.role,
      google_project_iam_member.pipeline_is_a_worker.role,
      google_project_iam_member.pipeline_queries.role,
    ]) == toset(["roles/storage.objectViewer", "roles/logging.logWriter", "roles/dataflow.worker", "roles/bigquery.jobUser"])
    error_message = "No role on the project but these four, none of them owner, editor or admin."
  }

  assert {
    condition     = length(google_project_iam_member.builder_reads_function_sources.condition) == 1
    error_message = "The builder reads one bucket only, though its right is on the project."
  }

  assert {
    condition = (
      google_storage_bucket_iam_member.pipeline_reads_rules.role == "roles/storage.objectViewer" &&
      strcontains(google_storage_bucket_iam_member.pipeline_reads_rules.condition[0].expression, "/demo-project-freshet-artifacts/objects/rules/\"")
    )
    error_message = "The pipeline reads the files of rules, and neither models nor releases."
  }

  assert {
    condition = (
      toset([for member in google_secret_manager_secret_iam_member.collector_reads : member.secret_id]) == toset([
        "freshet-backfill-key", "freshet-address-key", "freshet-sites", "freshet-field-key", "freshet-user-key",
      ]) &&
      alltrue([for member in google_secret_manager_secret_iam_member.collector_reads : member.role == "roles/secretmanager.secretAccessor"])
    )
    error_message = "The collector reads its five secrets one by one."
  }

  assert {
    condition = (
      toset([for member in google_secret_manager_secret_iam_member.api_reads : member.secret_id]) == toset([
        "freshet-field-key", "freshet-user-key", "freshet-api-keys",
      ]) &&
      alltrue([for member in google_secret_manager_secret_iam_member.api_reads : member.role == "roles/secretmanager.secretAccessor"])
    )
    error_message = "The API reads three secrets."
  }

  assert {
    condition = (
      google_project_iam_custom_role.endpoint_caller.permissions == toset(["aiplatform.endpoints.predict"]) &&
      google_project_iam_custom_role.bigtable_ping.permissions == toset(["bigtable.instances.ping"])
    )
    error_message = "Our own roles hold one permission each."
  }

  assert {
    condition = (
      toset(keys(google_bigtable_table_iam_member.api_reads)) == toset(["profiles", "items", "trending", "queries", "policies", "catalog_changes"]) &&
      alltrue([for member in google_bigtable_table_iam_member.api_reads : member.role == "roles/bigtable.reader"])
    )
    error_message = "The API reads features and never writes them."
  }

  assert {
    condition     = length(google_bigtable_table_iam_member.api_writes_catalog) == 0
    error_message = "Where no back end has a key, the API writes nothing."
  }

  assert {
    condition = (
      google_bigtable_table_iam_member.snapshot_reads.table == "items" &&
      google_bigtable_table_iam_member.snapshot_reads.role == "roles/bigtable.reader" &&
      google_storage_bucket_iam_member.snapshot_writes.role == "roles/storage.objectUser" &&
      strcontains(google_storage_bucket_iam_member.snapshot_writes.condition[0].expression, "/demo-project-freshet-artifacts/objects/snapshot/\"") &&
      google_cloud_run_v2_job_iam_member.scheduler_starts_snapshot.role == "roles/run.invoker"
    )
    error_message = "The snapshot job reads items and writes its own folder; the scheduler starts it, and no more."
  }

  assert {
    condition = (
      toset(keys(google_bigtable_table_iam_member.pipeline_folds)) == toset(["profiles", "items", "trending", "queries", "leases"]) &&
      alltrue([for member in google_bigtable_table_iam_member.pipeline_folds : member.role == "roles/bigtable.user"])
    )
    error_message = "The pipeline writes profiles, items, trending, queries and its lease, not the API's policies."
  }

  assert {
    condition = (
      toset(keys(google_bigquery_table_iam_member.pipeline_logs)) == toset(["events", "sessions", "dead_letters", "campaigns", "anomalies"]) &&
      alltrue([for member in google_bigquery_table_iam_member.pipeline_logs : member.role == "roles/bigquery.dataEditor"])
    )
    error_message = "The pipeline writes to the log tables, and reads them, one by one."
  }

  assert {
    condition = (
      toset([for member in google_pubsub_topic_iam_member.collector_publishes : member.topic]) == toset(["events", "dead-letters"]) &&
      alltrue([for member in google_pubsub_topic_iam_member.collector_publishes : member.role == "roles/pubsub.publisher"])
    )
    error_message = "The collector publishes to the two topics."
  }

  assert {
    condition = (
      toset([for member in google_pubsub_topic_iam_member.pipeline_publishes : member.topic]) == toset(["campaigns", "anomalies"]) &&
      alltrue([for member in google_pubsub_topic_iam_member.pipeline_publishes : member.role == "roles/pubsub.publisher"])
    )
    error_message = "The pipeline publishes what its rules find, on the two topics for it."
  }

  assert {
    condition     = length(google_pubsub_topic_iam_member.listeners_attach) == 0
    error_message = "Nobody listens to campaigns and anomalies who was not named."
  }

  assert {
    condition = length(distinct([
      google_service_account.api.account_id,
      google_service_account.builder.account_id,
      google_service_account.collector.account_id,
      google_service_account.pipeline.account_id,
      google_service_account.scheduler.account_id,
      google_service_account.snapshot.account_id,
    ])) == 6
    error_message = "Every deployable has an account of its own."
  }
}

run "back_ends_with_a_key_write_the_catalog" {
  command = plan

  variables {
    api_keys_version = "1"
  }

  assert {
    condition = (
      toset(keys(google_bigtable_table_iam_member.api_writes_catalog)) == toset(["items", "catalog_changes"]) &&
      alltrue([for member in google_bigtable_table_iam_member.api_writes_catalog : member.role == "roles/bigtable.user"])
    )
    error_message = "Where back ends have keys, the API writes the catalog and notes its changes, and nothing else."
  }
}
