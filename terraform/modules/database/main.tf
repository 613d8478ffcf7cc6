# The catalog: what has been committed is what PostgreSQL says. So the standby is synchronous, nothing that loses a commit in a
# crash is on, and the password is one that only RDS and the control plane's tasks ever see.

locals {
  aurora = var.engine == "aurora"
  major  = split(".", var.engine_version)[0]

  parameters = {
    "rds.force_ssl"        = "1"
    "synchronous_commit"   = "on"
    "track_io_timing"      = "1"
    "log_lock_waits"       = "1"
    "idle_session_timeout" = "0"
  }
}

resource "aws_security_group" "this" {
  name_prefix = "${var.name}-database-"
  description = "PostgreSQL: the control plane alone"
  vpc_id      = var.vpc_id

  tags = merge(var.tags, { Name = "${var.name}-database" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = var.client_security_group_ids

  security_group_id            = aws_security_group.this.id
  description                  = "PostgreSQL from ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432

  tags = var.tags
}

resource "aws_db_subnet_group" "this" {
  name_prefix = "${var.name}-"
  description = "Catalog of ${var.name}"
  subnet_ids  = var.subnet_ids

  tags = var.tags
}

resource "aws_db_parameter_group" "this" {
  count = local.aurora ? 0 : 1

  name_prefix = "${var.name}-"
  family      = "postgres${local.major}"
  description = "What a catalog rests on"

  dynamic "parameter" {
    for_each = local.parameters

    content {
      name  = parameter.key
      value = parameter.value
    }
  }

  tags = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "this" {
  count = local.aurora ? 0 : 1

  identifier_prefix = "${var.name}-"
  engine            = "postgres"
  engine_version    = var.engine_version
  instance_class    = var.instance_class
  db_name           = "streamhouse"
  username          = "streamhouse"

  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.kms_key_arn

  allocated_storage     = var.allocated_storage_gib
  max_allocated_storage = var.allocated_storage_gib * 10
  storage_type          = "gp3"
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arn

  multi_az               = true
  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  parameter_group_name   = aws_db_parameter_group.this[0].name
  publicly_accessible    = false

  backup_retention_period   = var.backup_retention_days
  copy_tags_to_snapshot     = true
  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = !var.deletion_protection
  final_snapshot_identifier = "${var.name}-last"

  auto_minor_version_upgrade   = true
  performance_insights_enabled = true
  apply_immediately            = false

  tags = merge(var.tags, { Name = var.name })
}

resource "aws_rds_cluster_parameter_group" "this" {
  count = local.aurora ? 1 : 0

  name_prefix = "${var.name}-"
  family      = "aurora-postgresql${local.major}"
  description = "What a catalog rests on"

  dynamic "parameter" {
    for_each = local.parameters

    content {
      name  = parameter.key
      value = parameter.value
    }
  }

  tags = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_rds_cluster" "this" {
  count = local.aurora ? 1 : 0

  cluster_identifier_prefix = "${var.name}-"
  engine                    = "aurora-postgresql"
  engine_version            = var.engine_version
  database_name             = "streamhouse"
  master_username           = "streamhouse"

  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.kms_key_arn

  storage_encrypted = true
  kms_key_id        = var.kms_key_arn

  db_subnet_group_name            = aws_db_subnet_group.this.name
  vpc_security_group_ids          = [aws_security_group.this.id]
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.this[0].name

  backup_retention_period   = var.backup_retention_days
  copy_tags_to_snapshot     = true
  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = !var.deletion_protection
  final_snapshot_identifier = "${var.name}-last"

  tags = merge(var.tags, { Name = var.name })
}

# A writer and one that can become the writer, in another zone.
resource "aws_rds_cluster_instance" "this" {
  count = local.aurora ? 2 : 0

  identifier_prefix            = "${var.name}-"
  cluster_identifier           = aws_rds_cluster.this[0].id
  engine                       = aws_rds_cluster.this[0].engine
  instance_class               = var.instance_class
  publicly_accessible          = false
  performance_insights_enabled = true

  tags = merge(var.tags, { Name = var.name })
}

locals {
  host       = local.aurora ? aws_rds_cluster.this[0].endpoint : aws_db_instance.this[0].address
  secret_arn = local.aurora ? aws_rds_cluster.this[0].master_user_secret[0].secret_arn : aws_db_instance.this[0].master_user_secret[0].secret_arn
}

resource "aws_secretsmanager_secret_rotation" "master" {
  secret_id          = local.secret_arn
  rotate_immediately = false

  rotation_rules {
    schedule_expression = var.rotation_schedule
    duration            = "1h"
  }
}
