output "service_names" {
  description = "ECS service of each zone, by zone."
  value       = { for zone, service in aws_ecs_service.this : zone => service.name }
}

output "task_role_arn" {
  description = "Role of the running agents."
  value       = aws_iam_role.task.arn
}

output "urls" {
  description = "Base URL by which clients in a zone reach that zone's agents, by zone: the DNS name if there is a namespace, else the load balancer's; empty: neither, clients name agents themselves."
  value = {
    for zone in keys(var.subnet_ids) : zone => (
      var.dns_namespace != null ? "http://${zone}.${var.agent_group}.${var.dns_namespace.name}:${local.port}" :
      var.load_balancers ? "http://${aws_lb.this[zone].dns_name}:${local.port}" : ""
    )
  }
}

output "environments" {
  description = "Settings that the agents get, by zone, without the secrets."
  value       = local.environments
}

output "secret_names" {
  description = "Environment variables that the agents get from secrets."
  value       = ["STREAMHOUSE_AGENT_KEY"]
}

output "log_group" {
  description = "Log group."
  value       = aws_cloudwatch_log_group.this.name
}

output "load_balancer_suffixes" {
  description = "Load balancer of each zone as CloudWatch names it; none without load balancers."
  value       = { for zone, lb in aws_lb.this : zone => lb.arn_suffix }
}

output "target_group_suffixes" {
  description = "Target group of each zone as CloudWatch names it; none without load balancers."
  value       = { for zone, group in aws_lb_target_group.this : zone => group.arn_suffix }
}
