# The snapshot of the items, from which the API starts: a Cloud Run job that runs the API's image, so that both know one
# format, and Cloud Scheduler that starts it.

resource "google_service_account" "snapshot" {
  account_id   = "freshet-snapshot"
  display_name = "Freshet snapshot"
  description  = "Runs the snapshot job: reads items, writes their snapshot"

  depends_on = [google_project_service.this]
}

resource "google_bigtable_table_iam_member" "snapshot_reads" {
  instance_name = google_bigtable_instance.freshet.name
  table         = google_bigtable_table.this["items"].name
  role          = "roles/bigtable.reader"
  member        = google_service_account.snapshot.member
}

resource "google_bigtable_instance_iam_member" "snapshot_pings" {
  instance = google_bigtable_instance.freshet.name
  role     = google_project_iam_custom_role.bigtable_ping.name
  member   = google_service_account.snapshot.member
}

resource "google_storage_bucket_iam_member" "snapshot_writes" {
  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectUser"
  member = google_service_account.snapshot.member

  condition {
    title      = "snapshot"
    expression = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.artifacts.name}/objects/snapshot/\")"
  }
}

resource "google_cloud_run_v2_job" "snapshot" {
  name                = "freshet-snapshot"
  location            = var.region
  deletion_protection = var.deletion_protection

  template {
    template {
      service_account = google_service_account.snapshot.email
      timeout         = "1800s"
      max_retries     = 1

      containers {
        image   = coalesce(var.api_image, "${local.registry}/api:${var.release}")
        command = ["python", "-m", "vertex.api.snapshot"]

        resources {
          limits = { cpu = "2", memory = var.snapshot_memory }
        }

        dynamic "env" {
          for_each = {
            for name in ["GOOGLE_CLOUD_PROJECT", "FRESHET_BIGTABLE_INSTANCE", "FRESHET_SNAPSHOT_DIR", "FRESHET_ITEM_TTL_DAYS"] :
            name => local.api_environment[name]
          }
          content {
            name  = env.key
            value = env.value
          }
        }
      }
    }
  }

  depends_on = [
    google_bigtable_table_iam_member.snapshot_reads,
    google_bigtable_instance_iam_member.snapshot_pings,
    google_storage_bucket_iam_member.snapshot_writes,
  ]
}

resource "google_service_account" "scheduler" {
  account_id   = "freshet-scheduler"
  display_name = "Freshet scheduler"
  description  = "Starts the snapshot job"

  depends_on = [google_project_service.this]
}

resource "google_cloud_run_v2_job_iam_member" "scheduler_starts_snapshot" {
  name     = google_cloud_run_v2_job.snapshot.name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.scheduler.member
}

resource "google_cloud_scheduler_job" "snapshot" {
  name        = "freshet-snapshot"
  region      = var.region
  description = "Starts the snapshot job"
  schedule    = var.snapshot_schedule
  time_zone   = "Etc/UTC"

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/${google_cloud_run_v2_job.snapshot.id}:run"

    oauth_token {
      service_account_email = google_service_account.scheduler.email
    }
  }

  depends_on = [google_cloud_run_v2_job_iam_member.scheduler_starts_snapshot]
}
