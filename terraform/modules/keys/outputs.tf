output "admin_secret_arn" {
  description = "Secret that holds the first API key of an administrator."
  value       = aws_secretsmanager_secret_version.admin.arn
}

output "agents_secret_arn" {
  description = "Secret that holds the first API keys of all agent groups, as a JSON object, for the control plane."
  value       = aws_secretsmanager_secret_version.agents.arn
}

output "agent_secret_arns" {
  description = "Secret that holds the first API key of each agent group's agents, by agent group."
  value       = { for group, version in aws_secretsmanager_secret_version.agent : group => version.arn }
}
