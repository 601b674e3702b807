# What everything else stands on: names, labels and the APIs.

locals {
  labels        = merge({ app = "freshet" }, var.labels)
  zone          = coalesce(var.zone, "${var.region}-b")
  registry      = "${var.region}-docker.pkg.dev/${var.project_id}/${local.names.registry}"
  release_path  = "releases/${var.release}"
  message_keeps = "${var.message_retention_days * 86400}s"

  # The names that the programs read from FRESHET_* variables; the local stack uses the same.
  names = {
    events_topic             = "events"
    dead_letter_topic        = "dead-letters"
    campaigns_topic          = "campaigns"
    anomalies_topic          = "anomalies"
    events_subscription      = "events-pipeline"
    dead_letter_subscription = "dead-letters-pipeline"
    bigtable_instance        = "freshet"
    registry                 = "freshet"
  }
}

data "google_project" "this" {
  project_id = var.project_id

  depends_on = [google_project_service.this]
}

resource "google_project_service" "this" {
  for_each = toset([
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "bigquery.googleapis.com",
    "bigquerystorage.googleapis.com",
    "bigtable.googleapis.com",
    "bigtableadmin.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "dataflow.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
  ])

  service            = each.value
  disable_on_destroy = false
}
