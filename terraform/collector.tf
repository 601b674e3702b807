# The collector: a Cloud Function that takes events from anyone and publishes them. It can write to the two topics,
# read its four secrets, and nothing else.

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

# Who may send: the sites and their write keys, as docs/collection.md has them.
resource "google_secret_manager_secret" "sites" {
  secret_id           = "freshet-sites"
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

resource "google_secret_manager_secret_iam_member" "collector_reads_sites" {
  secret_id = google_secret_manager_secret.sites.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.collector.member
}

# What fields of events are hashed with, where any are to be.
resource "google_secret_manager_secret" "field_key" {
  secret_id           = "freshet-field-key"
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

resource "google_secret_manager_secret_iam_member" "collector_reads_field_key" {
  secret_id = google_secret_manager_secret.field_key.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.collector.member
}

# What proves user ids: the shop's server makes a token of each with it, the collector and the API check them.
resource "google_secret_manager_secret" "user_key" {
  secret_id           = "freshet-user-key"
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

resource "google_secret_manager_secret_iam_member" "collector_reads_user_key" {
  secret_id = google_secret_manager_secret.user_key.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.collector.member
}

locals {
  # Variable of the collector -> its secret, and the version that it reads; null: not set.
  collector_secrets = {
    FRESHET_BACKFILL_KEY = { secret = google_secret_manager_secret.backfill_key.secret_id, version = var.backfill_key_version }
    FRESHET_ADDRESS_KEY  = { secret = google_secret_manager_secret.address_key.secret_id, version = var.address_key_version }
    FRESHET_SITES        = { secret = google_secret_manager_secret.sites.secret_id, version = var.sites_version }
    FRESHET_FIELD_KEY    = { secret = google_secret_manager_secret.field_key.secret_id, version = var.field_key_version }
    FRESHET_USER_KEY     = { secret = google_secret_manager_secret.user_key.secret_id, version = var.user_key_version }
  }
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
      FRESHET_EVENTS_TOPIC      = google_pubsub_topic.events.name
      FRESHET_DEAD_LETTER_TOPIC = google_pubsub_topic.dead_letters.name
      FRESHET_CORS_ORIGINS      = join(",", var.cors_origins)
    })

    dynamic "secret_environment_variables" {
      for_each = { for name, secret in local.collector_secrets : name => secret if secret.version != null }
      content {
        key        = secret_environment_variables.key
        project_id = var.project_id
        secret     = secret_environment_variables.value.secret
        version    = secret_environment_variables.value.version
      }
    }
  }

  depends_on = [
    google_pubsub_topic_iam_member.collector_publishes_events,
    google_pubsub_topic_iam_member.collector_publishes_dead_letters,
    google_secret_manager_secret_iam_member.collector_reads_backfill_key,
    google_secret_manager_secret_iam_member.collector_reads_address_key,
    google_secret_manager_secret_iam_member.collector_reads_sites,
    google_secret_manager_secret_iam_member.collector_reads_field_key,
    google_secret_manager_secret_iam_member.collector_reads_user_key,
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
