output "control_plane_url" {
  description = "Base URL of the control plane, for the CLI and the console."
  value       = module.controlplane.url
}

output "agent_urls" {
  description = "Base URLs of the agents, by agent group and zone: clients name those of their own zone."
  value       = { for group, agents in module.agents : group => agents.urls }
}

output "admin_key_secret_arn" {
  description = "Secret that holds the first API key of an administrator."
  value       = var.key_secrets.admin_secret_arn
}

output "bucket" {
  description = "The bucket."
  value       = module.bucket.bucket
}

output "vpc_id" {
  description = "The VPC."
  value       = local.vpc_id
}

output "agent_environments" {
  description = "Settings that the agents get, by agent group and zone, without the secrets."
  value       = { for group, agents in module.agents : group => agents.environments }
}

output "control_plane_environment" {
  description = "Settings that the control plane gets, without the secrets."
  value       = module.controlplane.environment
}

output "observability" {
  description = "What one looks at it with: the workspace's address for Grafana, the dashboards as JSON by name, and the topic of alarms."
  value = {
    prometheus_query_url = module.observability.prometheus_query_url
    dashboards           = module.observability.dashboards
    alarm_topic_arn      = module.observability.alarm_topic_arn
  }
}
