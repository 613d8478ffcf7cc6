variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-west-1"
}

variable "agent_groups" {
  description = "Agent groups whose agents get a key."
  type        = set(string)
  default     = ["default"]
}
