# How clients find the agents of their own zone: a DNS name a zone, and where they are asked for, a load balancer a zone.

resource "aws_service_discovery_service" "this" {
  for_each = var.dns_namespace == null ? {} : var.subnet_ids

  name = "${each.key}.${var.agent_group}"

  dns_config {
    namespace_id   = var.dns_namespace.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 5
    }
  }

  health_check_custom_config {
    failure_threshold = 1
  }

  tags = var.tags
}

resource "aws_security_group" "balancer" {
  count = var.load_balancers ? 1 : 0

  name_prefix = "${local.full}-lb-"
  description = "Load balancers of agent group ${var.agent_group}"
  vpc_id      = var.vpc_id

  tags = merge(var.tags, { Name = "${local.full}-lb" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "balancer_clients" {
  for_each = var.load_balancers ? var.client_security_group_ids : {}

  security_group_id            = aws_security_group.balancer[0].id
  description                  = "Producers and consumers: ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port

  tags = var.tags
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  count = var.load_balancers ? 1 : 0

  security_group_id            = aws_security_group.balancer[0].id
  description                  = "To the agents"
  referenced_security_group_id = var.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port

  tags = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  count = var.load_balancers ? 1 : 0

  security_group_id            = var.security_group_id
  description                  = "From the load balancers"
  referenced_security_group_id = aws_security_group.balancer[0].id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port

  tags = var.tags
}

# One subnet, so that it stands in one zone, and no balancing across zones: what enters a zone stays in it.
resource "aws_lb" "this" {
  for_each = var.load_balancers ? var.subnet_ids : {}

  name_prefix                      = "shag-"
  internal                         = true
  load_balancer_type               = "network"
  subnets                          = [each.value]
  security_groups                  = [aws_security_group.balancer[0].id]
  enable_cross_zone_load_balancing = false

  tags = merge(var.tags, { Name = "${local.full}-${each.key}", zone = each.key })
}

resource "aws_lb_target_group" "this" {
  for_each = var.load_balancers ? var.subnet_ids : {}

  name_prefix          = "shag-"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "TCP"
  port                 = local.port
  deregistration_delay = 5

  health_check {
    protocol            = "HTTP"
    path                = "/readyz"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  tags = merge(var.tags, { zone = each.key })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "this" {
  for_each = var.load_balancers ? var.subnet_ids : {}

  load_balancer_arn = aws_lb.this[each.key].arn
  port              = local.port
  protocol          = "TCP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.key].arn
  }

  tags = var.tags
}
