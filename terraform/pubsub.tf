resource "google_pubsub_topic" "events" {
  name                       = local.names.events_topic
  message_retention_duration = local.message_keeps
  deletion_policy            = var.deletion_protection ? "PREVENT" : "DELETE"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic" "dead_letters" {
  name                       = local.names.dead_letter_topic
  message_retention_duration = local.message_keeps
  deletion_policy            = var.deletion_protection ? "PREVENT" : "DELETE"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

# What the pipeline's rules tell. Messages are kept, so that whoever subscribes later can seek back to them.
resource "google_pubsub_topic" "campaigns" {
  name                       = local.names.campaigns_topic
  message_retention_duration = local.message_keeps
  deletion_policy            = var.deletion_protection ? "PREVENT" : "DELETE"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic" "anomalies" {
  name                       = local.names.anomalies_topic
  message_retention_duration = local.message_keeps
  deletion_policy            = var.deletion_protection ? "PREVENT" : "DELETE"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

# Acknowledged messages are kept, so that a new pipeline can be wound back with `gcloud pubsub subscriptions seek`;
# the fold knows each visitor's newest 200 events, so what it then reads twice changes nothing.
resource "google_pubsub_subscription" "events" {
  name                       = local.names.events_subscription
  topic                      = google_pubsub_topic.events.id
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

  # The pipeline itself sends what it cannot read to the dead letters; this is for a message that kills its reader.
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = var.max_delivery_attempts
  }
}

resource "google_pubsub_subscription" "dead_letters" {
  name                       = local.names.dead_letter_subscription
  topic                      = google_pubsub_topic.dead_letters.id
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
}

# Whoever sends the campaigns or watches the anomalies makes a subscription of their own; this lets them attach it.
resource "google_pubsub_topic_iam_member" "listeners_attach" {
  for_each = {
    for pair in setproduct(["campaigns", "anomalies"], var.rule_listeners) : "${pair[0]}/${pair[1]}" => pair
  }

  topic  = each.value[0] == "campaigns" ? google_pubsub_topic.campaigns.name : google_pubsub_topic.anomalies.name
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
  topic  = google_pubsub_topic.dead_letters.name
  role   = "roles/pubsub.publisher"
  member = google_project_service_identity.pubsub.member
}

resource "google_pubsub_subscription_iam_member" "pubsub_takes_events" {
  subscription = google_pubsub_subscription.events.name
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.pubsub.member
}
