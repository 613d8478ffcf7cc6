variable "name" {
  description = "Prefix of the names of everything that is made."
  type        = string
  default     = "streamhouse"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name must be 2 to 25 of a-z, 0-9 and '-', and begin with a letter."
  }
}

variable "bucket" {
  description = "Name of the bucket that is made for the records."
  type        = string
}

variable "images" {
  description = "Images of the two services, and of the OpenTelemetry collector that takes their metrics and traces; without that one there are none, and no autoscaling."
  type = object({
    controlplane = string
    agent        = string
    collector    = optional(string)
  })
}

variable "zones" {
  description = "Availability zones of a VPC that is made; ignored with existing_vpc."
  type        = list(string)
  default     = []
}

variable "cidr" {
  description = "Address range of a VPC that is made."
  type        = string
  default     = "10.80.0.0/16"
}

variable "existing_vpc" {
  description = "A VPC of your own, with a private subnet in each zone, by zone. It needs a gateway endpoint for S3 on the route tables of these subnets, and a way to ECR, CloudWatch (logs and metrics), Secrets Manager and, for what observability asks for, Prometheus and X-Ray."
  type = object({
    vpc_id     = string
    subnet_ids = map(string)
  })
  default = null

  validation {
    condition     = var.existing_vpc != null || length(var.zones) >= 2
    error_message = "name at least two zones, or an existing VPC: the database needs two."
  }

  validation {
    condition     = var.existing_vpc == null || try(length(var.existing_vpc.subnet_ids) >= 2, false)
    error_message = "existing_vpc must have subnets in at least two zones."
  }
}

variable "agent_groups" {
  description = "Agent groups: which clients may reach each, how many agents it has in each zone and what they run on."
  type = map(object({
    client_security_group_ids = optional(map(string), {})
    agents_per_zone           = optional(object({ min = optional(number, 1), desired = optional(number, 1), max = optional(number, 6) }), {})
    capacity_providers        = optional(map(number), { FARGATE = 1 })
    capacity_bytes_per_second = optional(number, 104857600)
    cpu                       = optional(number, 2048)
    memory_mib                = optional(number, 4096)
    load_balancers            = optional(bool, false)
    environment               = optional(map(string), {})
  }))
  default = { default = {} }

  validation {
    condition     = contains(keys(var.agent_groups), "default") || length(var.agent_groups) >= 1
    error_message = "there must be at least one agent group."
  }
}

variable "operator_security_group_ids" {
  description = "Security groups from which people and tools call the control plane, by a name of your choice."
  type        = map(string)
  default     = {}
}

variable "database" {
  description = "The catalog's database."
  type = object({
    engine                = optional(string, "rds")
    engine_version        = optional(string, "17")
    instance_class        = optional(string, "db.r7g.large")
    allocated_storage_gib = optional(number, 100)
    backup_retention_days = optional(number, 14)
  })
  default = {}
}

variable "certificate_arn" {
  description = "ACM certificate of the control plane's load balancer; null: no TLS within the VPC."
  type        = string
  default     = null
}

variable "dns_namespace" {
  description = "Private DNS namespace in which each zone's agents get a name, e.g. \"streamhouse.internal\"; null: none."
  type        = string
  default     = "streamhouse.internal"
}

variable "key_secrets" {
  description = "Secrets with the first API keys, the outputs of module keys: an administrator's, those of all agent groups as a JSON object, and each agent group's."
  type = object({
    admin_secret_arn  = string
    agents_secret_arn = string
    agent_secret_arns = map(string)
  })
}

variable "cpu_architecture" {
  description = "X86_64 or ARM64, as the images."
  type        = string
  default     = "ARM64"
}

variable "kms_key_arn" {
  description = "KMS key for bucket, database and secrets; null: AWS's own."
  type        = string
  default     = null
}

variable "protect" {
  description = "Protects database and bucket against deletion. Switch it off for trials only."
  type        = bool
  default     = true
}

variable "autoscaling" {
  description = "Whether the agents of a zone scale on their utilization; it needs images.collector, by which CloudWatch learns of it."
  type        = bool
  default     = true

  validation {
    condition     = !var.autoscaling || var.images.collector != null
    error_message = "autoscaling follows a metric that the collector brings to CloudWatch: name images.collector, or set autoscaling = false."
  }
}

variable "observability" {
  description = "Where metrics and traces go, and who hears of alarms: a workspace for Prometheus (one of yours, else one is made), X-Ray, an SNS topic (one of yours, else one is made, to which addresses are subscribed)."
  type = object({
    prometheus               = optional(bool, true)
    prometheus_workspace_arn = optional(string)
    traces                   = optional(bool, true)
    alarm_topic_arn          = optional(string)
    alarm_emails             = optional(set(string), [])
  })
  default = {}
}

variable "cors_origins" {
  description = "Origins, besides the control plane's URL, whose pages may call: the web console under another address that browsers use for it, e.g. \"https://streamhouse.example.com\"."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
