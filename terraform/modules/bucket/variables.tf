variable "bucket" {
  description = "Name of the bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must be a valid S3 bucket name."
  }
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the objects; null: S3's own keys (SSE-S3), which cost nothing a request."
  type        = string
  default     = null
}

variable "abort_incomplete_uploads_days" {
  description = "Days after which what is left of an unfinished multipart upload is removed, 1 to 7."
  type        = number
  default     = 1

  validation {
    condition     = var.abort_incomplete_uploads_days >= 1 && var.abort_incomplete_uploads_days <= 7
    error_message = "abort_incomplete_uploads_days must be 1 to 7."
  }
}

variable "force_destroy" {
  description = "Lets terraform destroy remove the bucket with every record in it. For trials."
  type        = bool
  default     = false
}

variable "express_zone_ids" {
  description = "Zone ids (e.g. \"euw1-az1\") that get an S3 Express directory bucket besides. Such a bucket is lost with its zone: use it only for agent groups whose records may be."
  type        = set(string)
  default     = []
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
