# What is released and trained: the collector's zip, the Flex Template's file, the models.
resource "google_storage_bucket" "artifacts" {
  name                        = "${var.project_id}-freshet-artifacts"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
      num_newer_versions         = 3
    }
  }

  depends_on = [google_project_service.this]
}

# What a running Dataflow job writes for itself.
resource "google_storage_bucket" "dataflow" {
  name                        = "${var.project_id}-freshet-dataflow"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  soft_delete_policy {
    retention_duration_seconds = 0
  }

  # Not staging/: a streaming job reads it again whenever it adds a worker.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 14
      matches_prefix = ["temp/"]
    }
  }

  depends_on = [google_project_service.this]
}
