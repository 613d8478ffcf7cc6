variable "name" {
  description = "Prefix of the names of everything that is made."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "name must be 2 to 31 of a-z, 0-9 and '-', and begin with a letter."
  }
}

variable "engine" {
  description = "\"rds\": RDS for PostgreSQL with a synchronous standby in another zone. \"aurora\": Aurora PostgreSQL, whose storage is replicated over three zones; see the README for what is known and unknown about it."
  type        = string
  default     = "rds"

  validation {
    condition     = contains(["rds", "aurora"], var.engine)
    error_message = "engine must be rds or aurora."
  }
}

variable "engine_version" {
  description = "PostgreSQL version, 15 or newer; a major version alone takes its newest minor one."
  type        = string
  default     = "17"

  validation {
    condition     = try(tonumber(split(".", var.engine_version)[0]) >= 15, false)
    error_message = "engine_version must be 15 or newer."
  }
}

variable "instance_class" {
  description = "Instance class."
  type        = string
  default     = "db.r7g.large"
}

variable "allocated_storage_gib" {
  description = "Storage in GiB (engine rds), 20 or more; it grows up to ten times that by itself."
  type        = number
  default     = 100

  validation {
    condition     = var.allocated_storage_gib >= 20
    error_message = "allocated_storage_gib must be 20 or more."
  }
}

variable "vpc_id" {
  description = "VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in at least two zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids must name subnets in at least two zones."
  }
}

variable "client_security_group_ids" {
  description = "Security groups that may connect, by a name of your choice: those of the control plane."
  type        = map(string)
}

variable "backup_retention_days" {
  description = "Days that automatic backups are kept, 1 to 35. The grace before objects are deleted from the bucket must be at least as long as the oldest backup that one would restore."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_retention_days >= 1 && var.backup_retention_days <= 35
    error_message = "backup_retention_days must be 1 to 35."
  }
}

variable "deletion_protection" {
  description = "Refuses to delete the database, and keeps a last snapshot when it is deleted after all. Switch it off for trials only."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "KMS key for storage and the master password; null: AWS's own."
  type        = string
  default     = null
}

variable "rotation_schedule" {
  description = "When the master password is changed, as a schedule of Secrets Manager in UTC."
  type        = string
  default     = "cron(0 3 ? * SUN *)"
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
