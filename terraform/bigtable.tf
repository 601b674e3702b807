resource "google_bigtable_instance" "freshet" {
  name                = local.names.bigtable_instance
  display_name        = "Freshet features"
  deletion_protection = var.deletion_protection

  cluster {
    cluster_id   = "${local.names.bigtable_instance}-${local.zone}"
    zone         = local.zone
    storage_type = "SSD"

    autoscaling_config {
      min_nodes  = var.bigtable_nodes.min
      max_nodes  = var.bigtable_nodes.max
      cpu_target = 60
    }
  }

  depends_on = [google_project_service.this]
}

# The same tables and families as `pipeline/store/layout.py`, which is the only code that knows what is in them.
locals {
  bigtable_tables = {
    profiles        = ["p"]
    items           = ["c", "s"]
    trending        = ["t"]
    queries         = ["q"]
    policies        = ["b"]
    leases          = ["l"]
    catalog_changes = ["n"]
  }

  newest_version = { max_version = 1 }

  # A cell's time is that of the newest event in it, so age counts from the last event of the visitor or item. The
  # catalog's family, items/c, keeps the time of its write and does not expire. Notes of its changes are read within
  # seconds.
  ttl_days = {
    "profiles/p"        = var.profile_ttl_days
    "items/s"           = var.item_ttl_days
    "trending/t"        = var.item_ttl_days
    "queries/q"         = var.item_ttl_days
    "catalog_changes/n" = 1
  }

  gc_rules = {
    for family, days in local.ttl_days :
    family => { mode = "union", rules = [local.newest_version, { max_age = "${days * 24}h" }] }
  }

  bigtable_families = merge([
    for table, families in local.bigtable_tables : {
      for family in families : "${table}/${family}" => { table = table, family = family }
    }
  ]...)
}

resource "google_bigtable_table" "this" {
  for_each = local.bigtable_tables

  name                = each.key
  instance_name       = google_bigtable_instance.freshet.name
  deletion_protection = var.deletion_protection ? "PROTECTED" : "UNPROTECTED"

  dynamic "column_family" {
    for_each = each.value
    content {
      family = column_family.value
    }
  }
}

resource "google_bigtable_gc_policy" "this" {
  for_each = local.bigtable_families

  instance_name   = google_bigtable_instance.freshet.name
  table           = google_bigtable_table.this[each.value.table].name
  column_family   = each.value.family
  gc_rules        = jsonencode(lookup(local.gc_rules, each.key, { rules = [local.newest_version] }))
  deletion_policy = "ABANDON" # deleted with its table
}

# Clients warm their channels with a ping of the instance, which no role on a table covers.
resource "google_project_iam_custom_role" "bigtable_ping" {
  role_id     = "freshetBigtablePing"
  title       = "Freshet: ping Bigtable"
  description = "Warms a channel to a Bigtable instance; reads and writes nothing."
  permissions = ["bigtable.instances.ping"]
}
