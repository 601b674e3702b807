# What everything else stands on: names, labels and the APIs.

locals {
  labels        = merge({ app = "freshet" }, var.labels)
  zone          = coalesce(var.zone, "${var.region}-b")
  registry      = "${var.region}-docker.pkg.dev/${var.project_id}/${local.names.registry}"
  release_path  = "releases/${var.release}"
  message_keeps = "${var.message_retention_days * 86400}s"

  # The names that the programs are told; the local stack uses the same.
  names = {
    bigtable_instance = "freshet"
    registry          = "freshet"
  }

  topics = {
    events       = "events"
    dead_letters = "dead-letters"
    campaigns    = "campaigns"
    anomalies    = "anomalies"
  }

  # The pipeline's, each of the topic of the same key.
  subscriptions = {
    events       = "events-pipeline"
    dead_letters = "dead-letters-pipeline"
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
    "cloudscheduler.googleapis.com",
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
