output "url" {
  description = "Base URL of the control plane, for agents, the CLI and the console."
  value       = "${local.scheme}://${aws_lb.this.dns_name}"
}

output "service_name" {
  description = "ECS service."
  value       = aws_ecs_service.this.name
}

output "task_role_name" {
  description = "Role of the running replicas, which may do nothing unless you add it (a collector's needs, for instance)."
  value       = aws_iam_role.task.name
}

output "environment" {
  description = "Settings that the replicas get, without the secrets."
  value       = local.environment
}

output "secret_names" {
  description = "Environment variables that the replicas get from secrets."
  value       = sort(keys(local.secrets))
}

output "log_group" {
  description = "Log group."
  value       = aws_cloudwatch_log_group.this.name
}

output "load_balancer_suffix" {
  description = "Load balancer as CloudWatch names it."
  value       = aws_lb.this.arn_suffix
}

output "target_group_suffix" {
  description = "Target group as CloudWatch names it."
  value       = aws_lb_target_group.this.arn_suffix
}
