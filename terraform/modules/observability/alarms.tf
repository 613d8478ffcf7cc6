# Alarms on what AWS measures itself, which go off even when nothing of StreamHouse runs. What StreamHouse measures has alerts, in alerts.yaml.

locals {
  runbooks = "https://github.com/streamhouse/streamhouse/blob/main/docs/runbooks.md"

  # What each alarm says; docs/runbooks.md has a section for each of these names.
  means = {
    database-cpu          = "The database has used more than 80 % of its CPU for a quarter of an hour."
    database-storage      = "Less than a tenth of the database's storage is free."
    database-memory       = "The database has little free memory."
    database-connections  = "The database has more connections than the control planes need."
    database-replica-lag  = "The reader of the database is more than a second behind."
    control-plane-tasks   = "Fewer control planes run than should."
    control-plane-targets = "The load balancer finds a control plane unhealthy."
    agent-tasks           = "Fewer agents of a zone run than should."
    agent-targets         = "The load balancer of a zone finds an agent unhealthy."
    bucket-errors         = "More than one of a hundred requests to the bucket ends with 5xx."
    bucket-refusals       = "More than one of twenty requests to the bucket ends with 4xx."
  }

  rds = merge({
    database-cpu         = { metric = "CPUUtilization", above = true, threshold = 80, minutes = 15 }
    database-memory      = { metric = "FreeableMemory", above = false, threshold = var.least_free_memory_mib * 1048576, minutes = 15 }
    database-connections = { metric = "DatabaseConnections", above = true, threshold = var.max_database_connections, minutes = 5 }
    }, var.database.engine == "aurora" ? {
    database-replica-lag = { metric = "AuroraReplicaLag", above = true, threshold = 1000, minutes = 5 }
    } : {
    database-storage = { metric = "FreeStorageSpace", above = false, threshold = var.database.allocated_storage_gib * 1073741824 / 10, minutes = 5 }
  })

  rds_alarms = { for pair in setproduct(keys(local.rds), keys(var.database.instance_identifiers)) : join("-", pair) => { kind = pair[0], instance = pair[1] } }

  # Services of ECS, and load balancers' targets, with the kind of their alarm.
  services = merge(
    { control-plane-tasks = { kind = "control-plane-tasks", service = var.control_plane.service_name } },
    merge([for group, agents in var.agents : {
      for zone, service in agents.service_names : "agent-tasks-${group}-${zone}" => { kind = "agent-tasks", service = service }
    }]...),
  )

  targets = merge(
    { control-plane-targets = { kind = "control-plane-targets", balancer = var.control_plane.load_balancer_suffix, target = var.control_plane.target_group_suffix } },
    merge([for group, agents in var.agents : {
      for zone, balancer in agents.load_balancer_suffixes : "agent-targets-${group}-${zone}" => { kind = "agent-targets", balancer = balancer, target = agents.target_group_suffixes[zone] }
    }]...),
  )

  requests = {
    bucket-errors   = { metric = "5xxErrors", percent = 1 }
    bucket-refusals = { metric = "4xxErrors", percent = 5 }
  }
}

resource "aws_cloudwatch_metric_alarm" "database" {
  for_each = local.rds_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${local.means[each.value.kind]} ${local.runbooks}#${each.value.kind}"
  namespace           = "AWS/RDS"
  metric_name         = local.rds[each.value.kind].metric
  dimensions          = { DBInstanceIdentifier = var.database.instance_identifiers[each.value.instance] }
  statistic           = "Average"
  period              = 60
  evaluation_periods  = local.rds[each.value.kind].minutes
  comparison_operator = local.rds[each.value.kind].above ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = local.rds[each.value.kind].threshold
  # The instance that writes has no lag to report. A database that reports nothing at all is one whose control planes are not ready.
  treat_missing_data = each.value.kind == "database-replica-lag" ? "notBreaching" : "missing"
  alarm_actions      = [local.topic_arn]
  ok_actions         = [local.topic_arn]

  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "tasks" {
  for_each = local.services

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${local.means[each.value.kind]} ${local.runbooks}#${each.value.kind}"
  evaluation_periods  = 10
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "missing"
  alarm_actions       = [local.topic_arn]
  ok_actions          = [local.topic_arn]

  metric_query {
    id          = "missing"
    label       = "Tasks that are missing"
    expression  = "desired - running"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { desired = "DesiredTaskCount", running = "RunningTaskCount" }

    content {
      id = metric_query.key

      metric {
        namespace   = "ECS/ContainerInsights"
        metric_name = metric_query.value
        dimensions  = { ClusterName = var.cluster_name, ServiceName = each.value.service }
        stat        = "Average"
        period      = 60
      }
    }
  }

  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "targets" {
  for_each = local.targets

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${local.means[each.value.kind]} ${local.runbooks}#${each.value.kind}"
  namespace           = "AWS/NetworkELB"
  metric_name         = "UnHealthyHostCount"
  dimensions          = { LoadBalancer = each.value.balancer, TargetGroup = each.value.target }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [local.topic_arn]
  ok_actions          = [local.topic_arn]

  tags = var.tags
}

# S3 counts requests where it is asked to.
resource "aws_s3_bucket_metric" "this" {
  bucket = var.bucket
  name   = "all"
}

resource "aws_cloudwatch_metric_alarm" "bucket" {
  for_each = local.requests

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${local.means[each.key]} ${local.runbooks}#${each.key}"
  evaluation_periods  = 15
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.percent
  treat_missing_data  = "notBreaching"
  alarm_actions       = [local.topic_arn]
  ok_actions          = [local.topic_arn]

  metric_query {
    id          = "share"
    label       = "Percent of all requests"
    expression  = "100 * failed / requests"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { failed = each.value.metric, requests = "AllRequests" }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/S3"
        metric_name = metric_query.value
        dimensions  = { BucketName = var.bucket, FilterId = aws_s3_bucket_metric.this.name }
        stat        = "Sum"
        period      = 60
      }
    }
  }

  tags = var.tags
}
