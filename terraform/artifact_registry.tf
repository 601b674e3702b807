resource "google_artifact_registry_repository" "images" {
  repository_id = local.names.registry
  location      = var.region
  format        = "DOCKER"
  description   = "Freshet's images: api, predictor, pipeline, and what the collector is built into"

  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-old-untagged"
    action = "DELETE"
    condition {
      tag_state  = "UNTAGGED"
      older_than = "2592000s"
    }
  }

  depends_on = [google_project_service.this]
}
