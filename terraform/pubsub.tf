# Messages are kept, those of the rules' topics too, so that whoever subscribes later can seek back to them.
resource "google_pubsub_topic" "this" {
  for_each = local.topics

  name                       = each.value
  message_retention_duration = local.message_keeps
  deletion_policy            = var.deletion_protection ? "PREVENT" : "DELETE"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

# What the pipeline reads. Acknowledged messages are kept, so that a new pipeline can be wound back with
# `gcloud pubsub subscriptions seek`; the fold knows each visitor's newest 200 events, so what it then reads twice
# changes nothing.
resource "google_pubsub_subscription" "this" {
  for_each = local.subscriptions

  name                       = each.value
  topic                      = google_pubsub_topic.this[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = local.message_keeps
  retain_acked_messages      = true
  deletion_policy            = var.deletion_protection ? "PREVENT" : "DELETE"

  expiration_policy {
    ttl = "" # never
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  # The pipeline itself sends what it cannot read to the dead letters; this is for a message that kills its reader. A
  # dead letter never becomes one again.
  dynamic "dead_letter_policy" {
    for_each = each.key == "events" ? ["dead_letters"] : []
    content {
      dead_letter_topic     = google_pubsub_topic.this[dead_letter_policy.value].id
      max_delivery_attempts = var.max_delivery_attempts
    }
  }
}

# Whoever sends the campaigns or watches the anomalies makes a subscription of their own; this lets them attach it.
resource "google_pubsub_topic_iam_member" "listeners_attach" {
  for_each = {
    for pair in setproduct(["campaigns", "anomalies"], var.rule_listeners) : "${pair[0]}/${pair[1]}" => pair
  }

  topic  = google_pubsub_topic.this[each.value[0]].name
  role   = "roles/pubsub.subscriber"
  member = each.value[1]
}

# Pub/Sub moves undeliverable messages as its own service agent, which needs to take from the one and give to the other.

resource "google_project_service_identity" "pubsub" {
  provider = google-beta

  service = "pubsub.googleapis.com"

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic_iam_member" "pubsub_gives_dead_letters" {
  topic  = google_pubsub_topic.this["dead_letters"].name
  role   = "roles/pubsub.publisher"
  member = google_project_service_identity.pubsub.member
}

resource "google_pubsub_subscription_iam_member" "pubsub_takes_events" {
  subscription = google_pubsub_subscription.this["events"].name
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.pubsub.member
}
