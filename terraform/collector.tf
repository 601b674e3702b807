# The collector: a Cloud Function that takes events from anyone and publishes them. It can write to the two topics,
# read its two keys, and nothing else.

resource "google_service_account" "collector" {
  account_id   = "freshet-collector"
  display_name = "Freshet collector"
  description  = "Runs the collector: publishes events and dead letters"

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic_iam_member" "collector_publishes_events" {
  topic  = google_pubsub_topic.events.name
  role   = "roles/pubsub.publisher"
  member = google_service_account.collector.member
}

resource "google_pubsub_topic_iam_member" "collector_publishes_dead_letters" {
  topic  = google_pubsub_topic.dead_letters.name
  role   = "roles/pubsub.publisher"
  member = google_service_account.collector.member
}

resource "google_secret_manager_secret" "backfill_key" {
  secret_id           = "freshet-backfill-key"
  deletion_protection = var.deletion_protection

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_iam_member" "collector_reads_backfill_key" {
  secret_id = google_secret_manager_secret.backfill_key.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.collector.member
}

# What addresses are hashed with. It is of use only together with the log: whoever has both can name networks.
resource "google_secret_manager_secret" "address_key" {
  secret_id           = "freshet-address-key"
  deletion_protection = var.deletion_protection

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_iam_member" "collector_reads_address_key" {
  secret_id = google_secret_manager_secret.address_key.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.collector.member
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

    environment_variables = {
      FUNCTION_USE_ASGI         = "true"
      GOOGLE_CLOUD_PROJECT      = var.project_id
      FRESHET_EVENTS_TOPIC      = google_pubsub_topic.events.name
      FRESHET_DEAD_LETTER_TOPIC = google_pubsub_topic.dead_letters.name
      FRESHET_CORS_ORIGINS      = join(",", var.cors_origins)
    }

    dynamic "secret_environment_variables" {
      for_each = var.backfill_key_version == null ? [] : [var.backfill_key_version]
      content {
        key        = "FRESHET_BACKFILL_KEY"
        project_id = var.project_id
        secret     = google_secret_manager_secret.backfill_key.secret_id
        version    = secret_environment_variables.value
      }
    }

    dynamic "secret_environment_variables" {
      for_each = var.address_key_version == null ? [] : [var.address_key_version]
      content {
        key        = "FRESHET_ADDRESS_KEY"
        project_id = var.project_id
        secret     = google_secret_manager_secret.address_key.secret_id
        version    = secret_environment_variables.value
      }
    }
  }

  depends_on = [
    google_pubsub_topic_iam_member.collector_publishes_events,
    google_pubsub_topic_iam_member.collector_publishes_dead_letters,
    google_secret_manager_secret_iam_member.collector_reads_backfill_key,
    google_secret_manager_secret_iam_member.collector_reads_address_key,
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
