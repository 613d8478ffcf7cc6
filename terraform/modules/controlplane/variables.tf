variable "name" {
  description = "Prefix of the names of everything that is made."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name must be 2 to 25 of a-z, 0-9 and '-', and begin with a letter."
  }
}

variable "image" {
  description = "Image of streamhouse-controlplane, e.g. \"123456789012.dkr.ecr.eu-west-1.amazonaws.com/streamhouse-controlplane:v1.0.0\"."
  type        = string
}

variable "cluster_arn" {
  description = "ECS cluster."
  type        = string
}

variable "vpc_id" {
  description = "VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnet of each zone, by zone: replicas run in all of them."
  type        = map(string)

  validation {
    condition     = length(var.subnet_ids) >= 1
    error_message = "subnet_ids must name at least one zone."
  }
}

variable "replicas" {
  description = "Replicas; null: one for each zone, at least two."
  type        = number
  default     = null

  validation {
    condition     = var.replicas == null || try(var.replicas >= 1 && var.replicas <= 30, false)
    error_message = "replicas must be 1 to 30."
  }
}

variable "security_group_id" {
  description = "Security group of the replicas. Its rules are made here."
  type        = string
}

variable "client_security_group_ids" {
  description = "Security groups that may call, by a name of your choice: the agents', and those of operators."
  type        = map(string)
}

variable "database" {
  description = "The catalog: the outputs of module database."
  type = object({
    host                = string
    port                = number
    database            = string
    username            = string
    password_secret_arn = string
  })
}

variable "database_kms_key_arn" {
  description = "KMS key that encrypts the password's secret; null: AWS's own."
  type        = string
  default     = null
}

variable "sslmode" {
  description = "How TLS to the database is checked: \"require\", or \"verify-full\" with an image that holds the CA of RDS."
  type        = string
  default     = "require"

  validation {
    condition     = contains(["require", "verify-ca", "verify-full"], var.sslmode)
    error_message = "sslmode must be require, verify-ca or verify-full."
  }
}

variable "agent_groups" {
  description = "Agent groups that the control plane adds at its start."
  type        = set(string)

  validation {
    condition     = alltrue([for group in var.agent_groups : can(regex("^[a-z0-9-]{1,40}$", group))])
    error_message = "agent groups are named with 1 to 40 of a-z, 0-9 and '-'."
  }
}

variable "agent_keys_secret_arn" {
  description = "Secret that holds the first API key of each agent group's agents, as a JSON object of agent group and key. null: none; make keys with streamhouse key create."
  type        = string
  default     = null
}

variable "admin_key_secret_arn" {
  description = "Secret that holds the first API key of an administrator."
  type        = string
}

variable "certificate_arn" {
  description = "ACM certificate: the load balancer then speaks TLS. null: none, for a VPC in which that is accepted."
  type        = string
  default     = null
}

variable "cpu" {
  description = "CPU units of a replica (1024: one vCPU)."
  type        = number
  default     = 1024
}

variable "memory_mib" {
  description = "Memory of a replica in MiB."
  type        = number
  default     = 2048
}

variable "cpu_architecture" {
  description = "X86_64 or ARM64, as the image."
  type        = string
  default     = "ARM64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture must be X86_64 or ARM64."
  }
}

variable "session_duration" {
  description = "Silence that ends an agent's session, e.g. \"30s\"."
  type        = string
  default     = "30s"
}

variable "suspect_after" {
  description = "Silence after which an agent's partitions may be led by others, e.g. \"2s\"."
  type        = string
  default     = "2s"
}

variable "environment" {
  description = "Further settings of the control plane, by environment variable (STREAMHOUSE_…)."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.environment) : startswith(key, "STREAMHOUSE_") || startswith(key, "OTEL_")])
    error_message = "environment may hold STREAMHOUSE_… and OTEL_… only."
  }
}

variable "otlp_endpoint" {
  description = "OpenTelemetry collector to which metrics go, e.g. \"http://localhost:4318\"; empty: none."
  type        = string
  default     = ""
}

variable "sidecars" {
  description = "Further containers of each task, as ECS container definitions: a collector, for instance."
  type        = any
  default     = []
}

variable "task_policies" {
  description = "Policies of the running replicas, as JSON, by a name: what sidecars need."
  type        = map(string)
  default     = {}
}

variable "cors_origins" {
  description = "Origins whose pages may call the control plane, but the web console, which it serves itself. Empty: none."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.cors_origins : origin == "*" || can(regex("^https?://[^/]+$", origin))])
    error_message = "cors_origins must be * or scheme://host[:port]."
  }
}

variable "password_rotation_schedule" {
  description = "Schedule on which replicas are replaced one after the other so that they read the database's changed password: an hour after its rotation. Null: never."
  type        = string
  default     = "cron(0 4 ? * SUN *)"
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
