variable "name" {
  description = "Prefix of the names of everything that is made."
  type        = string
}

variable "agent_groups" {
  description = "Agent groups whose agents get a key."
  type        = set(string)
}

variable "keys_version" {
  description = "Raise it to make new keys."
  type        = number
  default     = 1
}

variable "kms_key_arn" {
  description = "KMS key of the secrets; null: AWS's own."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
