variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-west-1"
}

variable "bucket" {
  description = "Name of the bucket that is made for the records."
  type        = string
}

variable "images" {
  description = "Images of the two services and of the OpenTelemetry collector (AWS Distro for OpenTelemetry), in a registry that the tasks reach (ECR)."
  type = object({
    controlplane = string
    agent        = string
    collector    = string
  })
}

variable "key_secrets" {
  description = "Secrets with the first API keys, the outputs of module keys: an administrator's, those of all agent groups as a JSON object, and each agent group's."
  type = object({
    admin_secret_arn  = string
    agents_secret_arn = string
    agent_secret_arns = map(string)
  })
}
