# The endpoint that ranks. The provider has no resource to upload a model or to deploy one: `gcloud ai models upload`
# and `gcloud ai endpoints deploy-model` do it (docs/deploy.md). The predictor runs as Vertex AI's own account, which
# can read the model's files and nothing else of the project.
resource "google_vertex_ai_endpoint" "ranker" {
  name         = var.vertex_endpoint_id
  display_name = "freshet-ranker"
  description  = "Predicts the click-through rate of candidates"
  location     = var.region
  region       = var.region

  # `deploy-model` shifts traffic; Terraform would shift it back.
  lifecycle {
    ignore_changes = [traffic_split]
  }

  depends_on = [google_project_service.this]
}

# roles/aiplatform.user could also change and delete what it is granted on.
resource "google_project_iam_custom_role" "endpoint_caller" {
  role_id     = "freshetEndpointCaller"
  title       = "Freshet: call a Vertex AI endpoint"
  description = "Asks a Vertex AI endpoint for predictions."
  permissions = ["aiplatform.endpoints.predict"]
}
