variable "project_id" {
  description = "Id of the Google Cloud project that everything is made in. It exists already and has billing."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id: expected 6 to 30 lowercase letters, digits and hyphens, starting with a letter."
  }
}

variable "region" {
  description = "Region of everything, so that a click travels a short way."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region: expected a region such as us-central1, not a zone or a multi-region."
  }
}

variable "zone" {
  description = "Zone of the Bigtable cluster, in the region. Null: zone b of the region."
  type        = string
  default     = null
}

variable "release" {
  description = "Release to run: the tag of the images and the folder of the collector's zip and of the template's file. A new one rolls out anew."
  type        = string
  default     = "0.1.0"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9._-]{0,62}$", var.release))
    error_message = "release: expected up to 63 lowercase letters, digits, dots, hyphens and underscores."
  }
}

variable "labels" {
  description = "Labels for every resource, beside app=freshet."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Refuses to delete what holds data (Bigtable, BigQuery, buckets, topics) and the public services. Set to false and apply before tearing down."
  type        = bool
  default     = true
}

# Collector and API

variable "cors_origins" {
  description = "Origins of the shop's pages that may call the collector and the API, e.g. https://shop.example.com."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.cors_origins : can(regex("^https?://[^/,]+$", origin))])
    error_message = "cors_origins: expected scheme and host without a path, e.g. https://shop.example.com."
  }
}

variable "invokers" {
  description = "Who may call the collector and the API. Browsers need allUsers; an empty set closes both to the public."
  type        = set(string)
  default     = ["allUsers"]
}

variable "collector_source_object" {
  description = "Object in the bucket of artifacts with the collector's zip. Null: releases/<release>/collector.zip."
  type        = string
  default     = null
}

variable "collector_instances" {
  description = "Least and most instances of the collector. At least one warm instance keeps the first click fast."
  type        = object({ min = number, max = number })
  default     = { min = 1, max = 20 }

  validation {
    condition     = 0 <= var.collector_instances.min && var.collector_instances.min <= var.collector_instances.max && 1 <= var.collector_instances.max
    error_message = "collector_instances: expected 0 <= min <= max and max >= 1."
  }
}

variable "backfill_key_version" {
  description = "Version of the secret with the backfill key, e.g. \"1\", once one was added. Null: backfill and replays of dead letters are refused."
  type        = string
  default     = null
}

variable "address_key_version" {
  description = "Version of the secret with the key that clients' addresses are hashed with, e.g. \"1\", once one was added. Null: no address is passed on, not even hashed, and rules about addresses find nothing."
  type        = string
  default     = null
}

variable "sites_version" {
  description = "Version of the secret with the sites and their write keys (FRESHET_SITES, see docs/collection.md), e.g. \"1\", once one was added. Null: anybody may send, as the site \"default\"."
  type        = string
  default     = null
}

variable "field_key_version" {
  description = "Version of the secret with the key that FRESHET_HASH_FIELDS are hashed with, e.g. \"1\", once one was added. Null: no field can be hashed."
  type        = string
  default     = null
}

variable "user_key_version" {
  description = "Version of the secret with the key that user ids from browsers are proved with (FRESHET_USER_KEY, see docs/privacy.md), e.g. \"1\", once one was added. Null: the collector and the API take any user id."
  type        = string
  default     = null
}

variable "api_keys_version" {
  description = "Version of the secret with back ends' keys (FRESHET_API_KEYS, see docs/deploy.md), e.g. \"1\", once one was added. Null: back ends are counted by address, and write no catalog."
  type        = string
  default     = null
}

variable "collector_settings" {
  description = "Further settings of the collector by their names, e.g. FRESHET_DEFAULT_CONSENT = \"denied\", FRESHET_DROP_FIELDS = \"pii\" or FRESHET_ADDRESS_REQUESTS_PER_S = \"50\"; docs/collection.md lists them. No secrets."
  type        = map(string)
  default     = {}

  validation {
    condition = alltrue([for name in keys(var.collector_settings) : contains([
      "FRESHET_ADDRESS_BURST",
      "FRESHET_ADDRESS_REQUESTS_PER_S",
      "FRESHET_BOTS",
      "FRESHET_BOT_REQUESTS_PER_S",
      "FRESHET_COOKIE",
      "FRESHET_COOKIE_DAYS",
      "FRESHET_COOKIE_DOMAIN",
      "FRESHET_COOKIE_NAME",
      "FRESHET_COUNTRIES_FILE",
      "FRESHET_COUNTRY_HEADER",
      "FRESHET_DEFAULT_CONSENT",
      "FRESHET_DROP_FIELDS",
      "FRESHET_HASH_FIELDS",
      "FRESHET_PUBLISH_DEADLINE_S",
      "FRESHET_SIGNALS",
      "FRESHET_UNREADABLE",
    ], name)])
    error_message = "collector_settings: expected the names in docs/collection.md; secrets have variables of their own."
  }
}

variable "api_image" {
  description = "Image of the API. Null: the release's image in the project's registry."
  type        = string
  default     = null
}

variable "api_settings" {
  description = "Further settings of the API by their names, e.g. FRESHET_SCORE_WEIGHTS or FRESHET_ADDRESS_REQUESTS_PER_S. The default gives an answer over the network more time than one on the loopback."
  type        = map(string)
  default = {
    FRESHET_VERTEX_DEADLINE_S = "0.15"
  }

  validation {
    condition     = alltrue([for name in keys(var.api_settings) : can(regex("^FRESHET_[A-Z_]+$", name))])
    error_message = "api_settings: expected names that start with FRESHET_."
  }
}

variable "api_instances" {
  description = "Least and most instances of the API."
  type        = object({ min = number, max = number })
  default     = { min = 1, max = 20 }

  validation {
    condition     = 0 <= var.api_instances.min && var.api_instances.min <= var.api_instances.max && 1 <= var.api_instances.max
    error_message = "api_instances: expected 0 <= min <= max and max >= 1."
  }
}

variable "api_memory" {
  description = "Memory of an instance of the API. A third of it is for items, about 2 kB each: 178,000 in 1Gi."
  type        = string
  default     = "1Gi"

  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi)$", var.api_memory))
    error_message = "api_memory: expected a size such as 512Mi or 2Gi."
  }
}

variable "snapshot_schedule" {
  description = "When the snapshot of the items is written, as a cron expression in UTC."
  type        = string
  default     = "17 * * * *"
}

variable "snapshot_memory" {
  description = "Memory of the snapshot job: 2.5 kB an item and 300 MB, so 1,000,000 items fit into 4Gi."
  type        = string
  default     = "2Gi"

  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi)$", var.snapshot_memory))
    error_message = "snapshot_memory: expected a size such as 512Mi or 2Gi."
  }
}

variable "max_items" {
  description = "Items of the catalog that an instance of the API keeps in memory; null: as many as fit into a third of api_memory. What is beyond it is recommended seldom or never, which is an error in the log."
  type        = number
  default     = null

  validation {
    condition     = var.max_items == null ? true : 1 <= var.max_items && floor(var.max_items) == var.max_items
    error_message = "max_items: expected a whole number, 1 or more."
  }
}

variable "vertex_endpoint_id" {
  description = "Id of the Vertex AI endpoint, up to 10 digits, not starting with 0. Unique in the region of the project."
  type        = string
  default     = "1001"

  validation {
    condition     = can(regex("^[1-9][0-9]{0,9}$", var.vertex_endpoint_id))
    error_message = "vertex_endpoint_id: expected 1 to 10 digits, the first not 0."
  }
}

# Pipeline

variable "pipeline_image" {
  description = "Image of the pipeline's workers. Null: the release's image in the project's registry."
  type        = string
  default     = null
}

variable "pipeline_template_path" {
  description = "gs:// path of the Flex Template's file. Null: releases/<release>/pipeline.json in the bucket of artifacts."
  type        = string
  default     = null
}

variable "pipeline_machine_type" {
  description = "Machine type of the Dataflow workers."
  type        = string
  default     = "n2-standard-2"
}

variable "pipeline_workers" {
  description = "First and most workers of the Dataflow job."
  type        = object({ first = number, max = number })
  default     = { first = 1, max = 5 }

  validation {
    condition     = 1 <= var.pipeline_workers.first && var.pipeline_workers.first <= var.pipeline_workers.max
    error_message = "pipeline_workers: expected 1 <= first <= max."
  }
}

variable "pipeline_subnetwork" {
  description = "Subnetwork of the workers, regions/REGION/subnetworks/NAME, with Private Google Access; workers then have no public address. Null: the default network, with public addresses."
  type        = string
  default     = null

  validation {
    condition     = var.pipeline_subnetwork == null || can(regex("(^|/)regions/[a-z0-9-]+/subnetworks/[a-z0-9-]+$", var.pipeline_subnetwork))
    error_message = "pipeline_subnetwork: expected regions/REGION/subnetworks/NAME."
  }
}

variable "pipeline_rules" {
  description = "Rules of campaigns and anomalies. default: those in the image; none: no rules; gs://BUCKET/FILE: a YAML file, best under rules/ in the bucket of artifacts, which the pipeline may read; /PATH: a file in an image of your own."
  type        = string
  default     = "default"

  validation {
    condition     = can(regex("^(default|none|gs://[^/]+/.+|/.+)$", var.pipeline_rules))
    error_message = "pipeline_rules: expected default, none, gs://BUCKET/FILE or a full path in the image."
  }
}

variable "rule_listeners" {
  description = "Who may attach subscriptions to the topics campaigns and anomalies, e.g. serviceAccount:mailer@my-project.iam.gserviceaccount.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.rule_listeners : can(regex("^(serviceAccount|group|user):[^@\\s]+@[^@\\s]+$", member))])
    error_message = "rule_listeners: expected serviceAccount:, group: or user: and an address; messages name visitors and are not for everyone."
  }
}

# Stores

variable "dataset" {
  description = "BigQuery dataset of the logs and marts."
  type        = string
  default     = "freshet"

  validation {
    condition     = can(regex("^[A-Za-z0-9_]+$", var.dataset))
    error_message = "dataset: expected letters, digits and underscores."
  }
}

variable "log_retention_days" {
  description = "Days after which a day of a log table is deleted, by event time. Null: never."
  type        = number
  default     = 400

  validation {
    condition     = var.log_retention_days == null || try(1 <= var.log_retention_days && floor(var.log_retention_days) == var.log_retention_days, false)
    error_message = "log_retention_days: expected a whole number of days, 1 or more, or null."
  }
}

variable "mart_history_days" {
  description = "How many days back staging views and marts look. Fewer days cost less."
  type        = number
  default     = 90

  validation {
    condition     = 1 <= var.mart_history_days && var.mart_history_days <= 36500 && floor(var.mart_history_days) == var.mart_history_days
    error_message = "mart_history_days: expected a whole number of days, 1 to 36500."
  }
}

variable "message_retention_days" {
  description = "Days that topics and subscriptions keep messages, acknowledged ones too, so that the pipeline can be wound back."
  type        = number
  default     = 7

  validation {
    condition     = 1 <= var.message_retention_days && var.message_retention_days <= 7 && floor(var.message_retention_days) == var.message_retention_days
    error_message = "message_retention_days: expected a whole number of days, 1 to 7."
  }
}

variable "max_delivery_attempts" {
  description = "Deliveries after which Pub/Sub gives up on a message and moves it to the dead letters. High, because a streaming job hands messages back in good order too."
  type        = number
  default     = 100

  validation {
    condition     = 5 <= var.max_delivery_attempts && var.max_delivery_attempts <= 100
    error_message = "max_delivery_attempts: expected 5 to 100."
  }
}

variable "bigtable_nodes" {
  description = "Least and most nodes of the Bigtable cluster, which scales itself by CPU."
  type        = object({ min = number, max = number })
  default     = { min = 1, max = 5 }

  validation {
    condition     = 1 <= var.bigtable_nodes.min && var.bigtable_nodes.min <= var.bigtable_nodes.max
    error_message = "bigtable_nodes: expected 1 <= min <= max."
  }
}

variable "profile_ttl_days" {
  description = "Days after a visitor's last event at which the profile is forgotten."
  type        = number
  default     = 90

  validation {
    condition     = 1 <= var.profile_ttl_days && floor(var.profile_ttl_days) == var.profile_ttl_days
    error_message = "profile_ttl_days: expected a whole number of days, 1 or more."
  }
}

variable "item_ttl_days" {
  description = "Days after the last event at which an item's statistics, a product that no catalog holds, a trending scope, and a query are forgotten."
  type        = number
  default     = 90

  validation {
    condition     = 1 <= var.item_ttl_days && floor(var.item_ttl_days) == var.item_ttl_days
    error_message = "item_ttl_days: expected a whole number of days, 1 or more."
  }
}
