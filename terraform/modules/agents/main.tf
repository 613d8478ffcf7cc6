# The agents of one agent group: a service in each zone, with that zone's subnet alone, so that an agent is where its name says and
# a zone is scaled, and lost, by itself.

data "aws_region" "this" {}

locals {
  port   = 8080
  region = data.aws_region.this.name
  full   = "${var.name}-${var.agent_group}"

  # What sidecars may have is not the agent's.
  own_mib = var.memory_mib - sum(concat([0], [for sidecar in var.sidecars : try(sidecar.memory, 0)]))

  sidecars = {
    for zone in keys(var.subnet_ids) : zone => [for sidecar in var.sidecars : merge({
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this.name
          awslogs-region        = local.region
          awslogs-stream-prefix = "${zone}-${sidecar.name}"
        }
      }
    }, sidecar)]
  }

  common = merge({
    STREAMHOUSE_LISTEN             = "0.0.0.0:${local.port}"
    STREAMHOUSE_AGENT_GROUP        = var.agent_group
    STREAMHOUSE_CONTROL_PLANE      = var.control_plane_url
    STREAMHOUSE_S3_BUCKET          = var.bucket.bucket
    STREAMHOUSE_S3_REGION          = local.region
    STREAMHOUSE_LOG_FORMAT         = "json"
    STREAMHOUSE_CAPACITY           = tostring(var.capacity_bytes_per_second)
    STREAMHOUSE_MAX_BUFFERED_BYTES = tostring(floor(local.own_mib / 8) * 1048576) # three times that, and half as much again as the cache, must fit
    STREAMHOUSE_CACHE_BYTES        = tostring(floor(local.own_mib / 4) * 1048576)
    STREAMHOUSE_DRAIN_DEADLINE     = "${var.drain_deadline_seconds}s"
    STREAMHOUSE_OTLP_ENDPOINT      = var.otlp_endpoint
    STREAMHOUSE_CORS_ORIGINS       = join(",", var.cors_origins)
    GOMEMLIMIT                     = "${floor(local.own_mib * 0.9)}MiB"
  }, var.environment)

  # The zone is known here; the address by which others reach it is the one that the task has in its subnet.
  environments = { for zone, subnet in var.subnet_ids : zone => merge(local.common, { STREAMHOUSE_ZONE = zone }) }

  agents = {
    for zone, environment in local.environments : zone => {
      name                   = "agent"
      image                  = var.image
      command                = ["serve"]
      essential              = true
      portMappings           = [{ containerPort = local.port, protocol = "tcp" }]
      environment            = [for key, value in environment : { name = key, value = value }]
      secrets                = [{ name = "STREAMHOUSE_AGENT_KEY", valueFrom = var.agent_key_secret_arn }]
      readonlyRootFilesystem = true
      stopTimeout            = var.stop_timeout_seconds
      healthCheck = {
        command     = ["CMD", "/streamhouse-agent", "healthcheck"]
        interval    = 10
        timeout     = 5
        retries     = 6
        startPeriod = 60
      }
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this.name
          awslogs-region        = local.region
          awslogs-stream-prefix = zone
        }
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/agents/${var.agent_group}"
  retention_in_days = var.log_retention_days

  tags = var.tags
}

# Agents of one group forward to each other and share a cache; those of another have no way in.
resource "aws_vpc_security_group_ingress_rule" "agents" {
  security_group_id            = var.security_group_id
  description                  = "Agents of the same agent group"
  referenced_security_group_id = var.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port

  tags = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = var.client_security_group_ids

  security_group_id            = var.security_group_id
  description                  = "Producers and consumers: ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port

  tags = var.tags
}

resource "aws_vpc_security_group_egress_rule" "this" {
  security_group_id = var.security_group_id
  description       = "To S3, the control plane, other agents and AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"

  tags = var.tags
}

resource "aws_ecs_task_definition" "this" {
  for_each = var.subnet_ids

  family                   = "${local.full}-${each.key}"
  requires_compatibilities = local.fargate ? ["FARGATE"] : ["EC2"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory_mib
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode(concat([local.agents[each.key]], local.sidecars[each.key]))

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  tags = var.tags
}

locals {
  fargate = alltrue([for provider in keys(var.capacity_providers) : startswith(provider, "FARGATE")])
}

resource "aws_ecs_service" "this" {
  for_each = var.subnet_ids

  name            = "${local.full}-${each.key}"
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this[each.key].arn
  desired_count   = var.agents_per_zone.desired
  propagate_tags  = "SERVICE"

  # One more agent first, then one leaves: a rolling upgrade moves partitions, it does not take them away.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "capacity_provider_strategy" {
    for_each = var.capacity_providers

    content {
      capacity_provider = capacity_provider_strategy.key
      weight            = capacity_provider_strategy.value
    }
  }

  network_configuration {
    subnets          = [each.value]
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  dynamic "service_registries" {
    for_each = var.dns_namespace == null ? [] : [aws_service_discovery_service.this[each.key].arn]

    content {
      registry_arn = service_registries.value
    }
  }

  dynamic "load_balancer" {
    for_each = var.load_balancers ? [aws_lb_target_group.this[each.key].arn] : []

    content {
      target_group_arn = load_balancer.value
      container_name   = "agent"
      container_port   = local.port
    }
  }

  tags = merge(var.tags, { zone = each.key, agent_group = var.agent_group })

  # Autoscaling decides how many there are from then on.
  lifecycle {
    ignore_changes = [desired_count]
  }

  depends_on = [aws_lb_listener.this]
}
