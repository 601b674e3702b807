# The API: a Cloud Run service that reads features, models and its secrets (secrets.tf), and asks the endpoint. Where back
# ends have keys it writes the catalog for them, and nothing else.

resource "google_service_account" "api" {
  account_id   = "freshet-api"
  display_name = "Freshet API"
  description  = "Runs the API: reads features and models, calls the ranker"

  depends_on = [google_project_service.this]
}

resource "google_bigtable_table_iam_member" "api_reads" {
  for_each = { for name, table in google_bigtable_table.this : name => table if name != "leases" }

  instance_name = google_bigtable_instance.freshet.name
  table         = each.value.name
  role          = "roles/bigtable.reader"
  member        = google_service_account.api.member
}

resource "google_bigtable_table_iam_member" "api_writes_catalog" {
  for_each = toset(var.api_keys_version != null ? ["items", "catalog_changes"] : [])

  instance_name = google_bigtable_instance.freshet.name
  table         = google_bigtable_table.this[each.key].name
  role          = "roles/bigtable.user"
  member        = google_service_account.api.member
}

resource "google_bigtable_instance_iam_member" "api_pings" {
  instance = google_bigtable_instance.freshet.name
  role     = google_project_iam_custom_role.bigtable_ping.name
  member   = google_service_account.api.member
}

resource "google_storage_bucket_iam_member" "api_reads_models" {
  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.api.member
}

resource "google_vertex_ai_endpoint_iam_member" "api_calls_ranker" {
  provider = google-beta

  endpoint = google_vertex_ai_endpoint.ranker.name
  location = var.region
  role     = google_project_iam_custom_role.endpoint_caller.name
  member   = google_service_account.api.member
}

locals {
  # What visitors are promised is one promise: the API reads these as the collector does.
  api_privacy = {
    for name, value in var.collector_settings : name => value
    if contains(["FRESHET_DEFAULT_CONSENT", "FRESHET_SIGNALS", "FRESHET_DROP_FIELDS", "FRESHET_HASH_FIELDS"], name)
  }

  # Without a number, the API takes as many items as its memory holds.
  api_bounds = {
    for name, value in { FRESHET_MAX_ITEMS = var.max_items } : name => tostring(value) if value != null
  }

  api_environment = merge(var.api_settings, local.api_privacy, local.api_bounds, {
    GOOGLE_CLOUD_PROJECT      = var.project_id
    FRESHET_BIGTABLE_INSTANCE = google_bigtable_instance.freshet.name
    FRESHET_MODEL_DIR         = "gs://${google_storage_bucket.artifacts.name}/models"
    FRESHET_SNAPSHOT_DIR      = "gs://${google_storage_bucket.artifacts.name}/snapshot"
    FRESHET_VERTEX_ENDPOINT   = "projects/${var.project_id}/locations/${var.region}/endpoints/${google_vertex_ai_endpoint.ranker.name}"
    FRESHET_CORS_ORIGINS      = join(",", var.cors_origins)
    FRESHET_ITEM_TTL_DAYS     = tostring(var.item_ttl_days)
  })
}

resource "google_cloud_run_v2_service" "api" {
  name                = "freshet-api"
  location            = var.region
  description         = "Recommends: candidates, ranking, banner"
  ingress             = "INGRESS_TRAFFIC_ALL"
  deletion_protection = var.deletion_protection

  scaling {
    min_instance_count = var.api_instances.min
  }

  template {
    service_account                  = google_service_account.api.email
    timeout                          = "60s" # for 10,000 lines of the catalog; an answer has a deadline of its own
    max_instance_request_concurrency = 40

    scaling {
      max_instance_count = var.api_instances.max
    }

    containers {
      image = coalesce(var.api_image, "${local.registry}/api:${var.release}")

      ports {
        container_port = 8080
      }

      resources {
        limits            = { cpu = "2", memory = var.api_memory }
        cpu_idle          = false # it refreshes items and models between requests
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.api_environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secret_variables.api
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value.secret
              version = env.value.version
            }
          }
        }
      }

      startup_probe {
        initial_delay_seconds = 1
        period_seconds        = 2
        timeout_seconds       = 2
        failure_threshold     = 30
        http_get {
          path = "/healthz"
        }
      }
    }
  }

  depends_on = [
    google_bigtable_table_iam_member.api_reads,
    google_bigtable_table_iam_member.api_writes_catalog,
    google_bigtable_instance_iam_member.api_pings,
    google_storage_bucket_iam_member.api_reads_models,
    google_vertex_ai_endpoint_iam_member.api_calls_ranker,
    google_secret_manager_secret_iam_member.api_reads,
  ]
}

resource "google_cloud_run_v2_service_iam_member" "api_invokers" {
  for_each = var.invokers

  name     = google_cloud_run_v2_service.api.name
  location = var.region
  role     = "roles/run.invoker"
  member   = each.value
}
