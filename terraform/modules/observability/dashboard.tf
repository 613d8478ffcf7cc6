# One dashboard of CloudWatch for what AWS measures, beside those of Grafana for what StreamHouse measures.

locals {
  widgets = concat(
    [{
      title   = "Database: CPU, percent"
      metrics = [for id in values(var.database.instance_identifiers) : ["AWS/RDS", "CPUUtilization", "DBInstanceIdentifier", id]]
      }, {
      title   = "Database: commits need its disk; latency in seconds"
      metrics = flatten([for id in values(var.database.instance_identifiers) : [for metric in ["WriteLatency", "ReadLatency"] : { of = ["AWS/RDS", metric, "DBInstanceIdentifier", id] }]])[*].of
      }, {
      title   = "Database: connections"
      metrics = [for id in values(var.database.instance_identifiers) : ["AWS/RDS", "DatabaseConnections", "DBInstanceIdentifier", id]]
      }, {
      title   = "Tasks that run"
      metrics = [for service in values(local.services)[*].service : ["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", var.cluster_name, "ServiceName", service]]
      }, {
      title   = "CPU of the services, percent"
      metrics = [for service in values(local.services)[*].service : ["AWS/ECS", "CPUUtilization", "ClusterName", var.cluster_name, "ServiceName", service]]
      }, {
      title   = "Memory of the services, percent"
      metrics = [for service in values(local.services)[*].service : ["AWS/ECS", "MemoryUtilization", "ClusterName", var.cluster_name, "ServiceName", service]]
      }, {
      title   = "Bucket: requests"
      metrics = [for metric in ["PutRequests", "GetRequests", "4xxErrors", "5xxErrors"] : ["AWS/S3", metric, "BucketName", var.bucket, "FilterId", aws_s3_bucket_metric.this.name, { stat = "Sum" }]]
      }, {
      title   = "Bucket: time to the first byte, ms"
      metrics = [for stat in ["p50", "p99"] : ["AWS/S3", "FirstByteLatency", "BucketName", var.bucket, "FilterId", aws_s3_bucket_metric.this.name, { stat = stat }]]
    }],
    local.cloudwatch ? [{
      title = "Share of their capacity that agents use, by agent group and zone"
      metrics = flatten([for group, agents in var.agents : [for zone in keys(agents.service_names) : {
        of = [var.metric_namespace, "streamhouse.agent.utilization", "streamhouse.agent_group", group, "streamhouse.zone", zone]
      }]])[*].of
    }] : [],
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type       = "text", x = 0, y = 0, width = 24, height = 2
        properties = { markdown = "What AWS measures of **${var.name}**. What StreamHouse measures is in Grafana's dashboards; traces are in [X-Ray](#xray:traces/query). Runbooks: ${local.runbooks}" }
      }],
      [for i, widget in local.widgets : {
        type = "metric", x = i % 3 * 8, y = 2 + floor(i / 3) * 6, width = 8, height = 6
        properties = {
          title = widget.title, metrics = widget.metrics, region = local.region, stat = "Average", period = 60, view = "timeSeries"
        }
      }],
    )
  })
}
