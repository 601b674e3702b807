# Tables and views come from the SQL files in sql/, by way of bigquery.json (`python -m sql.schema` writes it).
locals {
  warehouse = jsondecode(file("${path.module}/bigquery.json"))

  # BigQuery takes a view only once all that it reads is there: a view of tables alone is of step 1, one that reads views
  # is a step after them.
  view_steps = {
    for step in [1, 2, 3] : step => {
      for name, view in local.warehouse.views : name => view if view.step == step
    }
  }

  view_queries = {
    for name, view in local.warehouse.views : name => replace(
      replace(view.query, "$${dataset}", "${var.project_id}.${var.dataset}"),
      "$${history_days}", tostring(var.mart_history_days),
    )
  }
}

resource "google_bigquery_dataset" "freshet" {
  dataset_id                 = var.dataset
  location                   = var.region
  description                = "Freshet: logs of events, sessions and dead letters, and the marts on them"
  delete_contents_on_destroy = !var.deletion_protection

  depends_on = [google_project_service.this]
}

resource "google_bigquery_table" "this" {
  for_each = local.warehouse.tables

  dataset_id          = google_bigquery_dataset.freshet.dataset_id
  table_id            = each.key
  description         = each.value.description
  clustering          = each.value.clustering
  deletion_protection = var.deletion_protection

  schema = jsonencode([
    for column in each.value.columns : {
      name        = column.name
      type        = column.type
      mode        = column.mode
      description = column.description
    }
  ])

  time_partitioning {
    type          = "DAY"
    field         = each.value.partition
    expiration_ms = var.log_retention_days == null ? null : var.log_retention_days * 86400000
  }
}

resource "google_bigquery_table" "views_1" {
  for_each = local.view_steps[1]

  dataset_id          = google_bigquery_dataset.freshet.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false # a view holds no data

  view {
    query          = local.view_queries[each.key]
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.this]
}

resource "google_bigquery_table" "views_2" {
  for_each = local.view_steps[2]

  dataset_id          = google_bigquery_dataset.freshet.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false # a view holds no data

  view {
    query          = local.view_queries[each.key]
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.views_1]
}

resource "google_bigquery_table" "views_3" {
  for_each = local.view_steps[3]

  dataset_id          = google_bigquery_dataset.freshet.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false # a view holds no data

  view {
    query          = local.view_queries[each.key]
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.views_2]
}
