variable "name" {
  description = "Prefix of the names of everything that is made."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name must be 2 to 25 of a-z, 0-9 and '-', and begin with a letter."
  }
}

variable "agent_group" {
  description = "Agent group: 1 to 20 of a-z, 0-9 and '-' (the product allows 40; names in AWS are shorter)."
  type        = string
  default     = "default"

  validation {
    condition     = can(regex("^[a-z0-9-]{1,20}$", var.agent_group))
    error_message = "agent_group must be 1 to 20 of a-z, 0-9 and '-'."
  }
}

variable "image" {
  description = "Image of streamhouse-agent."
  type        = string
}

variable "cluster_arn" {
  description = "ECS cluster."
  type        = string
}

variable "cluster_name" {
  description = "Name of the ECS cluster."
  type        = string
}

variable "vpc_id" {
  description = "VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnet of each zone, by zone. Each zone gets a service of its own."
  type        = map(string)

  validation {
    condition     = length(var.subnet_ids) >= 1
    error_message = "subnet_ids must name at least one zone."
  }
}

variable "security_group_id" {
  description = "Security group of the agents. Its rules are made here."
  type        = string
}

variable "client_security_group_ids" {
  description = "Security groups of producers and consumers, by a name of your choice."
  type        = map(string)
  default     = {}
}

variable "control_plane_url" {
  description = "Base URL of the control plane."
  type        = string

  validation {
    condition     = can(regex("^https?://", var.control_plane_url))
    error_message = "control_plane_url must be an http or https URL."
  }
}

variable "agent_key_secret_arn" {
  description = "Secret that holds the API key of this agent group's agents."
  type        = string
}

variable "bucket" {
  description = "The bucket: outputs of module bucket."
  type = object({
    bucket      = string
    arn         = string
    kms_key_arn = optional(string)
  })
}

variable "agents_per_zone" {
  description = "Agents in each zone: where autoscaling begins, and its bounds."
  type = object({
    min     = optional(number, 1)
    desired = optional(number, 1)
    max     = optional(number, 6)
  })
  default = {}

  validation {
    condition     = var.agents_per_zone.min >= 1 && var.agents_per_zone.min <= var.agents_per_zone.desired && var.agents_per_zone.desired <= var.agents_per_zone.max
    error_message = "agents_per_zone must have 1 <= min <= desired <= max."
  }
}

variable "capacity_bytes_per_second" {
  description = "Bytes of records per second, in and out together, that one agent is meant for: its weight in placement and the measure of autoscaling."
  type        = number
  default     = 104857600
}

variable "target_utilization_percent" {
  description = "Share of its capacity, in percent, that autoscaling keeps agents at, 10 to 90."
  type        = number
  default     = 60

  validation {
    condition     = var.target_utilization_percent >= 10 && var.target_utilization_percent <= 90
    error_message = "target_utilization_percent must be 10 to 90."
  }
}

variable "autoscaling" {
  description = "Whether to scale. Needs the metric in CloudWatch: module observability."
  type        = bool
  default     = true
}

variable "metric_namespace" {
  description = "CloudWatch namespace of the metric that autoscaling follows."
  type        = string
  default     = "StreamHouse"
}

variable "capacity_providers" {
  description = "Capacity providers and their weights, e.g. { FARGATE_SPOT = 3, FARGATE = 1 }, or those of EC2 instances of the cluster. An agent that is taken away loses nothing."
  type        = map(number)
  default     = { FARGATE = 1 }

  validation {
    condition     = length(var.capacity_providers) >= 1
    error_message = "capacity_providers must name at least one."
  }
}

variable "drain_deadline_seconds" {
  description = "Longest time that an agent hands its partitions over at its stop."
  type        = number
  default     = 60
}

variable "stop_timeout_seconds" {
  description = "Time after SIGTERM at which ECS kills an agent: longer than the drain deadline and its linger, at most 120, which is also the notice of a spot instance."
  type        = number
  default     = 110

  validation {
    condition     = var.stop_timeout_seconds <= 120 && var.stop_timeout_seconds >= var.drain_deadline_seconds + 15
    error_message = "stop_timeout_seconds must be at most 120 and at least 15 more than drain_deadline_seconds."
  }
}

variable "cpu" {
  description = "CPU units of an agent (1024: one vCPU)."
  type        = number
  default     = 2048
}

variable "memory_mib" {
  description = "Memory of a task in MiB. Of what sidecars leave of it an eighth is the bound of records on their way in, which may take three times that, and a quarter that of the cache, which may take half as much again."
  type        = number
  default     = 4096

  validation {
    condition     = var.memory_mib >= 1024
    error_message = "memory_mib must be at least 1024."
  }
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

variable "dns_namespace" {
  description = "Private DNS namespace of Cloud Map in which each zone's agents get the name <zone>.<agent group>.<name>; null: none."
  type = object({
    id   = string
    name = string
  })
  default = null
}

variable "load_balancers" {
  description = "Whether each zone gets a network load balancer that reaches the agents of that zone alone: for clients that are no StreamHouse SDK. The SDK goes to agents directly, which is cheaper."
  type        = bool
  default     = false
}

variable "environment" {
  description = "Further settings of the agents, by environment variable (STREAMHOUSE_…)."
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
  description = "Further policies of the running agents, as JSON, by a name: what sidecars need."
  type        = map(string)
  default     = {}
}

variable "cors_origins" {
  description = "Origins whose pages may call the agents: that of the web console, under the address that browsers use. Empty: none."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.cors_origins : origin == "*" || can(regex("^https?://[^/]+$", origin))])
    error_message = "cors_origins must be * or scheme://host[:port]."
  }
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
