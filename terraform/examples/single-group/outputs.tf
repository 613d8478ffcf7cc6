output "control_plane_url" {
  description = "Base URL of the control plane."
  value       = module.streamhouse.control_plane_url
}

output "agent_urls" {
  description = "Base URLs of the agents, by agent group and zone."
  value       = module.streamhouse.agent_urls
}

output "admin_key_secret_arn" {
  description = "Secret that holds the first API key of an administrator."
  value       = module.streamhouse.admin_key_secret_arn
}
