# Replicas of the control plane in all zones, behind an internal load balancer. A new version migrates the schema before it serves:
# each task first runs `migrate`, which takes a lock, so that of several tasks one does the work, while replicas of the version
# before go on.

data "aws_region" "this" {}

locals {
  port     = 8080
  region   = data.aws_region.this.name
  replicas = coalesce(var.replicas, max(2, length(var.subnet_ids)))
  scheme   = var.certificate_arn == null ? "http" : "https"

  database_url = "postgres://${var.database.username}@${var.database.host}:${var.database.port}/${var.database.database}?sslmode=${var.sslmode}"

  database_environment = {
    STREAMHOUSE_DATABASE_URL = local.database_url
    STREAMHOUSE_LOG_FORMAT   = "json"
  }

  # The password is no part of the URL: the driver takes it from here, the task from the secret that RDS keeps.
  database_secrets = {
    PGPASSWORD = "${var.database.password_secret_arn}:password::"
  }

  environment = merge(local.database_environment, {
    STREAMHOUSE_LISTEN             = "0.0.0.0:${local.port}"
    STREAMHOUSE_ADVERTISED_ADDRESS = "${local.scheme}://${aws_lb.this.dns_name}"
    STREAMHOUSE_MIGRATE_ON_START   = "false"
    STREAMHOUSE_AGENT_GROUPS       = join(",", sort(var.agent_groups))
    STREAMHOUSE_SESSION_DURATION   = var.session_duration
    STREAMHOUSE_SUSPECT_AFTER      = var.suspect_after
    STREAMHOUSE_OTLP_ENDPOINT      = var.otlp_endpoint
    STREAMHOUSE_CORS_ORIGINS       = join(",", var.cors_origins)
    STREAMHOUSE_STOP_TIMEOUT       = "20s"
  }, var.environment)

  secrets = merge(
    local.database_secrets,
    { STREAMHOUSE_BOOTSTRAP_ADMIN_KEY = var.admin_key_secret_arn },
    var.agent_keys_secret_arn == null ? {} : { STREAMHOUSE_BOOTSTRAP_AGENT_KEYS = var.agent_keys_secret_arn },
  )

  logs = {
    logDriver = "awslogs"
    options = {
      awslogs-group         = aws_cloudwatch_log_group.this.name
      awslogs-region        = local.region
      awslogs-stream-prefix = "controlplane"
    }
  }

  sidecars = [for sidecar in var.sidecars : merge({
    logConfiguration = merge(local.logs, { options = merge(local.logs.options, { awslogs-stream-prefix = sidecar.name }) })
  }, sidecar)]

  migrate = {
    name             = "migrate"
    image            = var.image
    command          = ["migrate"]
    essential        = false
    environment      = [for key, value in local.database_environment : { name = key, value = value }]
    secrets          = [for key, arn in local.database_secrets : { name = key, valueFrom = arn }]
    logConfiguration = local.logs
  }

  serve = {
    name                   = "controlplane"
    image                  = var.image
    command                = ["serve"]
    essential              = true
    dependsOn              = [{ containerName = "migrate", condition = "SUCCESS" }]
    portMappings           = [{ containerPort = local.port, protocol = "tcp" }]
    environment            = [for key, value in local.environment : { name = key, value = value }]
    secrets                = [for key, arn in local.secrets : { name = key, valueFrom = arn }]
    logConfiguration       = local.logs
    readonlyRootFilesystem = true
    stopTimeout            = 30
    healthCheck = {
      command     = ["CMD", "/streamhouse-controlplane", "healthcheck"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 60
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/controlplane"
  retention_in_days = var.log_retention_days

  tags = var.tags
}

resource "aws_security_group" "balancer" {
  name_prefix = "${var.name}-controlplane-lb-"
  description = "Load balancer of the control plane"
  vpc_id      = var.vpc_id

  tags = merge(var.tags, { Name = "${var.name}-controlplane-lb" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = var.client_security_group_ids

  security_group_id            = aws_security_group.balancer.id
  description                  = "Calls from ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = local.listener_port
  to_port                      = local.listener_port

  tags = var.tags
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "To the replicas"
  referenced_security_group_id = var.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port

  tags = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  security_group_id            = var.security_group_id
  description                  = "From the load balancer"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port

  tags = var.tags
}

resource "aws_vpc_security_group_egress_rule" "this" {
  security_group_id = var.security_group_id
  description       = "To the database, AWS and agents"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"

  tags = var.tags
}

locals {
  listener_port = var.certificate_arn == null ? 80 : 443
}

# Layer 4: streams of Watch live for hours, and HTTP/2 without TLS passes.
resource "aws_lb" "this" {
  name_prefix                      = "shcp-"
  internal                         = true
  load_balancer_type               = "network"
  subnets                          = values(var.subnet_ids)
  security_groups                  = [aws_security_group.balancer.id]
  enable_cross_zone_load_balancing = true

  tags = merge(var.tags, { Name = "${var.name}-controlplane" })
}

resource "aws_lb_target_group" "this" {
  name_prefix          = "shcp-"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "TCP"
  port                 = local.port
  deregistration_delay = 20

  health_check {
    protocol            = "HTTP"
    path                = "/readyz"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  tags = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "this" {
  load_balancer_arn = aws_lb.this.arn
  port              = local.listener_port
  protocol          = var.certificate_arn == null ? "TCP" : "TLS"
  certificate_arn   = var.certificate_arn
  ssl_policy        = var.certificate_arn == null ? null : "ELBSecurityPolicy-TLS13-1-2-2021-06"
  alpn_policy       = var.certificate_arn == null ? null : "HTTP2Preferred"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }

  tags = var.tags
}

resource "aws_ecs_task_definition" "this" {
  family                   = "${var.name}-controlplane"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory_mib
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode(concat([local.migrate, local.serve], local.sidecars))

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  tags = var.tags
}

resource "aws_ecs_service" "this" {
  name                               = "${var.name}-controlplane"
  cluster                            = var.cluster_arn
  task_definition                    = aws_ecs_task_definition.this.arn
  desired_count                      = local.replicas
  launch_type                        = "FARGATE"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60
  propagate_tags                     = "SERVICE"

  # A version that does not come up is taken back by itself.
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = values(var.subnet_ids)
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "controlplane"
    container_port   = local.port
  }

  tags = var.tags

  depends_on = [aws_lb_listener.this]
}
