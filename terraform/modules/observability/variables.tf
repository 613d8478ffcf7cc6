variable "name" {
  description = "Prefix of the names of everything that is made; also what tells this cluster's metrics from another's."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name must be 2 to 25 of a-z, 0-9 and '-', and begin with a letter."
  }
}

variable "collector_image" {
  description = "Image of an OpenTelemetry collector that has AWS's exporters (AWS Distro for OpenTelemetry), in a registry that the tasks reach: ECR. Null: no collector, hence neither metrics nor traces of StreamHouse's own, only what AWS measures."
  type        = string
  default     = null
}

variable "prometheus" {
  description = "Whether metrics go to a workspace of Amazon Managed Service for Prometheus, with the alert rules. Dashboards and alerts need them there."
  type        = bool
  default     = true
}

variable "prometheus_workspace_arn" {
  description = "A workspace of yours. Null: one is made."
  type        = string
  default     = null

  validation {
    condition     = var.prometheus_workspace_arn == null || can(regex("^arn:[^:]+:aps:[^:]+:[0-9]+:workspace/.+$", var.prometheus_workspace_arn))
    error_message = "prometheus_workspace_arn must be the ARN of a workspace."
  }
}

variable "cloudwatch_metrics" {
  description = "Regular expressions for names of metrics that go to CloudWatch, by agent group and zone, too. Each metric there has a price; autoscaling needs the first."
  type        = list(string)
  default     = ["^streamhouse\\.agent\\.utilization$"]
}

variable "metric_namespace" {
  description = "CloudWatch namespace of these."
  type        = string
  default     = "StreamHouse"
}

variable "traces" {
  description = "Whether traces go to X-Ray."
  type        = bool
  default     = true
}

variable "alarm_topic_arn" {
  description = "SNS topic for alarms and alerts. Its policy must let cloudwatch.amazonaws.com and aps.amazonaws.com publish. Null: one is made."
  type        = string
  default     = null
}

variable "alarm_emails" {
  description = "Addresses that are subscribed to the topic that is made; each must confirm once."
  type        = set(string)
  default     = []
}

variable "cluster_name" {
  description = "ECS cluster; it must have Container Insights, which count its tasks."
  type        = string
}

variable "control_plane" {
  description = "The control plane: outputs of module controlplane."
  type = object({
    service_name         = string
    load_balancer_suffix = string
    target_group_suffix  = string
  })
}

variable "agents" {
  description = "The agents, by agent group: outputs of module agents. The suffixes are empty where there are no load balancers."
  type = map(object({
    service_names          = map(string)
    load_balancer_suffixes = map(string)
    target_group_suffixes  = map(string)
  }))
}

variable "database" {
  description = "The database: outputs of module database."
  type = object({
    engine                = string
    instance_identifiers  = map(string)
    allocated_storage_gib = number
  })
}

variable "max_database_connections" {
  description = "Connections to the database above which something else than the control planes must be there."
  type        = number
  default     = 150
}

variable "least_free_memory_mib" {
  description = "Free memory of the database below which there is an alarm, in MiB."
  type        = number
  default     = 512
}

variable "bucket" {
  description = "The bucket, whose requests S3 counts (that has a price)."
  type        = string
}

variable "log_retention_days" {
  description = "Days that metrics are kept as logs, from which CloudWatch makes them."
  type        = number
  default     = 3
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
