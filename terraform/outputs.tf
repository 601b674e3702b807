output "collector_url" {
  description = "Where events go: POST /v1/events."
  value       = google_cloudfunctions2_function.collector.service_config[0].uri
}

output "api_url" {
  description = "Where recommendations come from: POST /v1/recommendations."
  value       = google_cloud_run_v2_service.api.uri
}

output "image_repository" {
  description = "Registry that images are pushed to."
  value       = local.registry
}

output "artifacts_bucket" {
  description = "Bucket of the collector's zip, the Flex Template's file and the models."
  value       = google_storage_bucket.artifacts.name
}

output "model_dir" {
  description = "Folder of models: FRESHET_MODEL_DIR for training."
  value       = local.api_environment.FRESHET_MODEL_DIR
}

output "vertex_endpoint" {
  description = "Endpoint that a model is deployed to: FRESHET_VERTEX_ENDPOINT."
  value       = local.api_environment.FRESHET_VERTEX_ENDPOINT
}

output "campaigns_topic" {
  description = "Topic of campaigns that are due: subscribe whoever sends."
  value       = google_pubsub_topic.this["campaigns"].id
}

output "anomalies_topic" {
  description = "Topic of anomalies in the traffic: subscribe whoever watches."
  value       = google_pubsub_topic.this["anomalies"].id
}

output "dataset" {
  description = "BigQuery dataset of logs and marts: FRESHET_DATASET."
  value       = google_bigquery_dataset.freshet.dataset_id
}

output "bigtable_instance" {
  description = "Bigtable instance of the features: FRESHET_BIGTABLE_INSTANCE."
  value       = google_bigtable_instance.freshet.name
}

output "dataflow_bucket" {
  description = "Bucket of what Dataflow jobs write for themselves: staging and temp files."
  value       = google_storage_bucket.dataflow.name
}

output "service_accounts" {
  description = "Account of each deployable."
  value = {
    api       = google_service_account.api.email
    builder   = google_service_account.builder.email
    collector = google_service_account.collector.email
    pipeline  = google_service_account.pipeline.email
  }
}
