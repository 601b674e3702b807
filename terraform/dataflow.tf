# The pipeline: one streaming Dataflow job from a Flex Template. It reads two subscriptions, writes features and logs.

resource "google_service_account" "pipeline" {
  account_id   = "freshet-pipeline"
  display_name = "Freshet pipeline"
  description  = "Runs the Dataflow workers: reads events, writes features and logs, tells what rules find"

  depends_on = [google_project_service.this]
}

# What a worker needs to be a worker; Dataflow knows no smaller home for it than the project.
resource "google_project_iam_member" "pipeline_is_a_worker" {
  project = var.project_id
  role    = "roles/dataflow.worker"
  member  = google_service_account.pipeline.member
}

resource "google_storage_bucket_iam_member" "pipeline_stages_files" {
  bucket = google_storage_bucket.dataflow.name
  role   = "roles/storage.objectAdmin"
  member = google_service_account.pipeline.member
}

resource "google_artifact_registry_repository_iam_member" "pipeline_pulls_image" {
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.pipeline.member
}

resource "google_pubsub_subscription_iam_member" "pipeline_reads" {
  for_each = google_pubsub_subscription.this

  subscription = each.value.name
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.pipeline.member
}

# Dataflow asks for the settings of what it reads.
resource "google_pubsub_subscription_iam_member" "pipeline_views" {
  for_each = google_pubsub_subscription.this

  subscription = each.value.name
  role         = "roles/pubsub.viewer"
  member       = google_service_account.pipeline.member
}

# What its rules find it tells; it may publish there and nowhere else.
resource "google_pubsub_topic_iam_member" "pipeline_publishes" {
  for_each = toset(["campaigns", "anomalies"])

  topic  = google_pubsub_topic.this[each.key].name
  role   = "roles/pubsub.publisher"
  member = google_service_account.pipeline.member
}

resource "google_bigtable_table_iam_member" "pipeline_folds" {
  for_each = { for name, table in google_bigtable_table.this : name => table if !contains(["policies", "catalog_changes"], name) }

  instance_name = google_bigtable_instance.freshet.name
  table         = each.value.name
  role          = "roles/bigtable.user"
  member        = google_service_account.pipeline.member
}

resource "google_bigtable_instance_iam_member" "pipeline_pings" {
  instance = google_bigtable_instance.freshet.name
  role     = google_project_iam_custom_role.bigtable_ping.name
  member   = google_service_account.pipeline.member
}

resource "google_bigquery_table_iam_member" "pipeline_logs" {
  for_each = { for name, table in google_bigquery_table.this : name => table if name != "dead_letters_replayed" }

  dataset_id = each.value.dataset_id
  table_id   = each.value.table_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.pipeline.member
}

# A backfill reads the log with queries; a query has no smaller home than the project. The tables it may read are above.
resource "google_project_iam_member" "pipeline_queries" {
  project = var.project_id
  role    = "roles/bigquery.jobUser"
  member  = google_service_account.pipeline.member
}

# The launcher runs as the pipeline's account too, and reads the operator's file of rules.
resource "google_storage_bucket_iam_member" "pipeline_reads_rules" {
  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.pipeline.member

  condition {
    title       = "rules-only"
    description = "Only the files of rules"
    expression  = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.artifacts.name}/objects/rules/\")"
  }
}

resource "google_dataflow_flex_template_job" "pipeline" {
  provider = google-beta

  name                    = "freshet-pipeline"
  region                  = var.region
  container_spec_gcs_path = coalesce(var.pipeline_template_path, "gs://${google_storage_bucket.artifacts.name}/${local.release_path}/pipeline.json")
  on_delete               = "drain"

  # Exactly once, the default mode: profiles know their events by id and would not need it, but item counts, trending
  # and sessions count what the profile fold hands on, and hold no ids of their own.
  enable_streaming_engine = true

  service_account_email = google_service_account.pipeline.email
  sdk_container_image   = coalesce(var.pipeline_image, "${local.registry}/pipeline:${var.release}")
  machine_type          = var.pipeline_machine_type
  num_workers           = var.pipeline_workers.first
  max_workers           = var.pipeline_workers.max
  autoscaling_algorithm = "THROUGHPUT_BASED"
  staging_location      = "gs://${google_storage_bucket.dataflow.name}/staging"
  temp_location         = "gs://${google_storage_bucket.dataflow.name}/temp"
  subnetwork            = var.pipeline_subnetwork
  ip_configuration      = var.pipeline_subnetwork == null ? null : "WORKER_IP_PRIVATE"
  labels                = local.labels

  parameters = {
    events_subscription       = google_pubsub_subscription.this["events"].id
    dead_letters_subscription = google_pubsub_subscription.this["dead_letters"].id
    campaigns_topic           = google_pubsub_topic.this["campaigns"].id
    anomalies_topic           = google_pubsub_topic.this["anomalies"].id
    rules                     = var.pipeline_rules
    bigtable_instance         = google_bigtable_instance.freshet.name
    dataset                   = google_bigquery_dataset.freshet.dataset_id
    row_sink                  = "streaming_inserts"
    write_after_commit        = "yes"
    session_lateness_s        = "3600"
    state_ttl_s               = "86400"
    write_flush_s             = "0.2"
    trending_shards           = "8"
  }

  # Before the job: a worker that is refused stalls the stream instead of ending it.
  depends_on = [
    google_project_iam_member.pipeline_is_a_worker,
    google_storage_bucket_iam_member.pipeline_stages_files,
    google_storage_bucket_iam_member.pipeline_reads_rules,
    google_artifact_registry_repository_iam_member.pipeline_pulls_image,
    google_pubsub_subscription_iam_member.pipeline_reads,
    google_pubsub_subscription_iam_member.pipeline_views,
    google_pubsub_topic_iam_member.pipeline_publishes,
    google_bigtable_table_iam_member.pipeline_folds,
    google_bigtable_instance_iam_member.pipeline_pings,
    google_bigtable_gc_policy.this,
    google_bigquery_table_iam_member.pipeline_logs,
  ]
}
