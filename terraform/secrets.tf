# Secrets: Terraform makes them empty and says who may read them; whoever operates Freshet puts the values in
# (docs/deploy.md). A program is given a secret once its version is named.

locals {
  # Secret -> the variable that it is read from, the version (null: not set), and the programs that read it.
  secrets = {
    freshet-backfill-key = {
      variable = "FRESHET_BACKFILL_KEY"
      version  = var.backfill_key_version
      readers  = ["collector"]
    }
    # What addresses are hashed with. It is of use only together with the log: whoever has both can name networks.
    freshet-address-key = {
      variable = "FRESHET_ADDRESS_KEY"
      version  = var.address_key_version
      readers  = ["collector"]
    }
    # Who may send: the sites and their write keys, as docs/collection.md has them.
    freshet-sites = {
      variable = "FRESHET_SITES"
      version  = var.sites_version
      readers  = ["collector"]
    }
    # What fields of events are hashed with, where any are to be. A visitor whose id the collector hashes is asked for
    # by the same hash.
    freshet-field-key = {
      variable = "FRESHET_FIELD_KEY"
      version  = var.field_key_version
      readers  = ["collector", "api"]
    }
    # What proves user ids: the shop's server makes a token of each with it, the collector and the API check them.
    freshet-user-key = {
      variable = "FRESHET_USER_KEY"
      version  = var.user_key_version
      readers  = ["collector", "api"]
    }
    # Back ends' keys, whose rates hold in place of their addresses'.
    freshet-api-keys = {
      variable = "FRESHET_API_KEYS"
      version  = var.api_keys_version
      readers  = ["api"]
    }
  }

  # Program -> its secrets.
  secrets_of = {
    for reader in ["collector", "api"] : reader => {
      for name, secret in local.secrets : name => secret if contains(secret.readers, reader)
    }
  }

  # Program -> variable -> the secret and the version that it is given.
  secret_variables = {
    for reader, secrets in local.secrets_of : reader => {
      for name, secret in secrets : secret.variable => { secret = name, version = secret.version }
      if secret.version != null
    }
  }
}

resource "google_secret_manager_secret" "this" {
  for_each = local.secrets

  secret_id           = each.key
  deletion_protection = var.deletion_protection

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_iam_member" "collector_reads" {
  for_each = local.secrets_of.collector

  secret_id = google_secret_manager_secret.this[each.key].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.collector.member
}

resource "google_secret_manager_secret_iam_member" "api_reads" {
  for_each = local.secrets_of.api

  secret_id = google_secret_manager_secret.this[each.key].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.api.member
}
