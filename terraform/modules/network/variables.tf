variable "name" {
  description = "Prefix of the names of everything that is made."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "name must be 2 to 31 of a-z, 0-9 and '-', and begin with a letter."
  }
}

variable "cidr" {
  description = "Address range of the VPC. Each zone gets a subnet of it that is 4 bits smaller."
  type        = string
  default     = "10.80.0.0/16"

  validation {
    condition     = can(cidrsubnet(var.cidr, 4, 15))
    error_message = "cidr must be an IPv4 range that can be divided by 16."
  }
}

variable "zones" {
  description = "Availability zones, e.g. [\"eu-west-1a\", \"eu-west-1b\", \"eu-west-1c\"]: 1 to 6 of them, each once."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 1 && length(var.zones) <= 6 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones must be 1 to 6 different availability zones."
  }
}

variable "interface_endpoints" {
  description = "AWS services that tasks reach through an interface endpoint in each zone, as the VPC has no way to the internet. Images come from ECR, whose layers lie in S3."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "monitoring"]
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
