# A whole cluster: network (or yours), bucket, database, control plane in all zones, and for each agent group a service of agents in
# each zone.

locals {
  vpc_id     = var.existing_vpc == null ? module.network[0].vpc_id : var.existing_vpc.vpc_id
  subnet_ids = var.existing_vpc == null ? module.network[0].subnet_ids : var.existing_vpc.subnet_ids
  tags       = merge({ application = "streamhouse", cluster = var.name }, var.tags)
}

module "network" {
  source = "../network"
  count  = var.existing_vpc == null ? 1 : 0

  name  = var.name
  cidr  = var.cidr
  zones = var.zones
  tags  = local.tags

  interface_endpoints = setunion(["ecr.api", "ecr.dkr", "logs", "secretsmanager", "monitoring"], module.observability.interface_endpoints)
}

module "bucket" {
  source = "../bucket"

  bucket        = var.bucket
  kms_key_arn   = var.kms_key_arn
  force_destroy = !var.protect
  tags          = local.tags
}

# The security groups are made here, because control plane, agents and database name each other in their rules.

resource "aws_security_group" "controlplane" {
  name_prefix = "${var.name}-controlplane-"
  description = "Replicas of the control plane"
  vpc_id      = local.vpc_id

  tags = merge(local.tags, { Name = "${var.name}-controlplane" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_security_group" "agents" {
  for_each = var.agent_groups

  name_prefix = "${var.name}-${each.key}-agents-"
  description = "Agents of agent group ${each.key}"
  vpc_id      = local.vpc_id

  tags = merge(local.tags, { Name = "${var.name}-${each.key}-agents" })

  lifecycle {
    create_before_destroy = true
  }
}

# The control plane knocks at an agent whose watch broke: one that refuses the connection is gone.
resource "aws_vpc_security_group_ingress_rule" "knock" {
  for_each = var.agent_groups

  security_group_id            = aws_security_group.agents[each.key].id
  description                  = "The control plane asks whether an agent is alive"
  referenced_security_group_id = aws_security_group.controlplane.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080

  tags = local.tags
}

module "database" {
  source = "../database"

  name                      = var.name
  engine                    = var.database.engine
  engine_version            = var.database.engine_version
  instance_class            = var.database.instance_class
  allocated_storage_gib     = var.database.allocated_storage_gib
  backup_retention_days     = var.database.backup_retention_days
  vpc_id                    = local.vpc_id
  subnet_ids                = values(local.subnet_ids)
  client_security_group_ids = { controlplane = aws_security_group.controlplane.id }
  deletion_protection       = var.protect
  kms_key_arn               = var.kms_key_arn
  tags                      = local.tags
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }

  tags = local.tags
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = distinct(concat(["FARGATE", "FARGATE_SPOT"], flatten([for group in var.agent_groups : keys(group.capacity_providers)])))
}

resource "aws_service_discovery_private_dns_namespace" "this" {
  count = var.dns_namespace == null ? 0 : 1

  name        = var.dns_namespace
  description = "Agents of ${var.name}, by zone"
  vpc         = local.vpc_id

  tags = local.tags
}

module "controlplane" {
  source = "../controlplane"

  name                      = var.name
  image                     = var.images.controlplane
  cluster_arn               = aws_ecs_cluster.this.arn
  vpc_id                    = local.vpc_id
  subnet_ids                = local.subnet_ids
  security_group_id         = aws_security_group.controlplane.id
  client_security_group_ids = merge({ for group, sg in aws_security_group.agents : "agents-${group}" => sg.id }, var.operator_security_group_ids)
  database                  = module.database
  database_kms_key_arn      = var.kms_key_arn
  agent_groups              = keys(var.agent_groups)
  agent_keys_secret_arn     = var.key_secrets.agents_secret_arn
  admin_key_secret_arn      = var.key_secrets.admin_secret_arn
  certificate_arn           = var.certificate_arn
  cpu_architecture          = var.cpu_architecture
  cors_origins              = var.cors_origins
  sidecars                  = module.observability.sidecars
  otlp_endpoint             = module.observability.otlp_endpoint
  task_policies             = module.observability.task_policies
  tags                      = local.tags
}

module "agents" {
  source   = "../agents"
  for_each = var.agent_groups

  name                      = var.name
  agent_group               = each.key
  image                     = var.images.agent
  cluster_arn               = aws_ecs_cluster.this.arn
  cluster_name              = aws_ecs_cluster.this.name
  vpc_id                    = local.vpc_id
  subnet_ids                = local.subnet_ids
  security_group_id         = aws_security_group.agents[each.key].id
  client_security_group_ids = each.value.client_security_group_ids
  control_plane_url         = module.controlplane.url
  agent_key_secret_arn      = var.key_secrets.agent_secret_arns[each.key]
  bucket                    = module.bucket
  agents_per_zone           = each.value.agents_per_zone
  autoscaling               = var.autoscaling
  capacity_providers        = each.value.capacity_providers
  capacity_bytes_per_second = each.value.capacity_bytes_per_second
  cpu                       = each.value.cpu
  memory_mib                = each.value.memory_mib
  load_balancers            = each.value.load_balancers
  environment               = each.value.environment
  cpu_architecture          = var.cpu_architecture
  dns_namespace             = var.dns_namespace == null ? null : { id = aws_service_discovery_private_dns_namespace.this[0].id, name = var.dns_namespace }
  cors_origins              = concat([module.controlplane.url], var.cors_origins)
  sidecars                  = module.observability.sidecars
  otlp_endpoint             = module.observability.otlp_endpoint
  task_policies             = module.observability.task_policies
  tags                      = local.tags

  depends_on = [aws_ecs_cluster_capacity_providers.this]
}

# Its sidecars go into the services, and its alarms watch them: resources depend on each other one way only.
module "observability" {
  source = "../observability"

  name                     = var.name
  collector_image          = var.images.collector
  prometheus               = var.observability.prometheus
  prometheus_workspace_arn = var.observability.prometheus_workspace_arn
  traces                   = var.observability.traces
  alarm_topic_arn          = var.observability.alarm_topic_arn
  alarm_emails             = var.observability.alarm_emails
  cluster_name             = aws_ecs_cluster.this.name
  control_plane            = module.controlplane
  agents                   = module.agents
  database                 = module.database
  bucket                   = module.bucket.bucket
  tags                     = local.tags
}
