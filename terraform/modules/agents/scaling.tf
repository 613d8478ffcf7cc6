# Each zone scales by itself, on the share of its capacity that its agents use, as they report it.

resource "aws_appautoscaling_target" "this" {
  for_each = var.autoscaling ? var.subnet_ids : {}

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${var.cluster_name}/${aws_ecs_service.this[each.key].name}"
  min_capacity       = var.agents_per_zone.min
  max_capacity       = var.agents_per_zone.max

  tags = var.tags
}

resource "aws_appautoscaling_policy" "this" {
  for_each = var.autoscaling ? var.subnet_ids : {}

  name               = "${local.full}-${each.key}-utilization"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[each.key].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[each.key].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[each.key].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.target_utilization_percent / 100
    scale_out_cooldown = 60
    scale_in_cooldown  = 600

    customized_metric_specification {
      namespace   = var.metric_namespace
      metric_name = "streamhouse.agent.utilization"
      statistic   = "Average"

      dimensions {
        name  = "streamhouse.agent_group"
        value = var.agent_group
      }

      dimensions {
        name  = "streamhouse.zone"
        value = each.key
      }
    }
  }
}
