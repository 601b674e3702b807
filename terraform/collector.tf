# The collector: a Cloud Function that takes events from anyone and publishes them. It can write to two topics,
# read its secrets (secrets.tf), and nothing else.

resource "google_service_account" "collector" {
  account_id   = "freshet-collector"
  display_name = "Freshet collector"
  description  = "Runs the collector: publishes events and dead letters"

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic_iam_member" "collector_publishes" {
  for_each = toset(["events", "dead_letters"])

  topic  = google_pubsub_topic.this[each.key].name
  role   = "roles/pubsub.publisher"
  member = google_service_account.collector.member
}

resource "google_cloudfunctions2_function" "collector" {
  name        = "freshet-collector"
  location    = var.region
  description = "Takes events over HTTP, validates them and publishes them"

  build_config {
    runtime           = "python311"
    entry_point       = "collect"
    service_account   = google_service_account.builder.id
    docker_repository = google_artifact_registry_repository.images.id

    source {
      storage_source {
        bucket = google_storage_bucket.artifacts.name
        object = coalesce(var.collector_source_object, "${local.release_path}/collector.zip")
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.collector.email
    min_instance_count               = var.collector_instances.min
    max_instance_count               = var.collector_instances.max
    max_instance_request_concurrency = 80
    available_cpu                    = "1"
    available_memory                 = "512Mi"
    timeout_seconds                  = 30
    ingress_settings                 = "ALLOW_ALL"
    all_traffic_on_latest_revision   = true

    environment_variables = merge(var.collector_settings, {
      FUNCTION_USE_ASGI         = "true"
      GOOGLE_CLOUD_PROJECT      = var.project_id
      FRESHET_EVENTS_TOPIC      = google_pubsub_topic.this["events"].name
      FRESHET_DEAD_LETTER_TOPIC = google_pubsub_topic.this["dead_letters"].name
      FRESHET_CORS_ORIGINS      = join(",", var.cors_origins)
    })

    dynamic "secret_environment_variables" {
      for_each = local.secret_variables.collector
      content {
        key        = secret_environment_variables.key
        project_id = var.project_id
        secret     = secret_environment_variables.value.secret
        version    = secret_environment_variables.value.version
      }
    }
  }

  depends_on = [
    google_pubsub_topic_iam_member.collector_publishes,
    google_secret_manager_secret_iam_member.collector_reads,
    google_artifact_registry_repository_iam_member.builder_writes_images,
    google_storage_bucket_iam_member.builder_reads_artifacts,
    google_project_iam_member.builder_reads_function_sources,
    google_project_iam_member.builder_writes_logs,
  ]
}

resource "google_cloud_run_v2_service_iam_member" "collector_invokers" {
  for_each = var.invokers

  name     = google_cloudfunctions2_function.collector.name
  location = var.region
  role     = "roles/run.invoker"
  member   = each.value
}

# Cloud Build turns the zip into an image under an account of its own, instead of the default one that may do anything.

resource "google_service_account" "builder" {
  account_id   = "freshet-builder"
  display_name = "Freshet builder"
  description  = "Builds the collector's image from its zip"

  depends_on = [google_project_service.this]
}

resource "google_storage_bucket_iam_member" "builder_reads_artifacts" {
  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.builder.member
}

resource "google_artifact_registry_repository_iam_member" "builder_writes_images" {
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder.member
}

# Cloud Functions copies the zip to a bucket that it makes at the first deployment, so the right cannot be on the bucket.
resource "google_project_iam_member" "builder_reads_function_sources" {
  project = var.project_id
  role    = "roles/storage.objectViewer"
  member  = google_service_account.builder.member

  condition {
    title       = "function-sources-only"
    description = "Only the bucket that Cloud Functions keeps sources in"
    expression  = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${data.google_project.this.number}-${var.region}\")"
  }
}

# Build logs have no smaller home than the project.
resource "google_project_iam_member" "builder_writes_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.builder.member
}
