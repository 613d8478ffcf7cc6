# What one sees of a cluster: a collector beside each task, which takes what the processes export and passes it on to Prometheus, CloudWatch and X-Ray;
# alert rules; alarms on what AWS measures itself; dashboards.
#
# The collector is one container more in each task, so that nothing crosses a zone and a task that dies takes no one else's metrics along. Tasks do
# not depend on it: without it an agent serves as before.

data "aws_region" "this" {}

data "aws_partition" "this" {}

locals {
  region     = data.aws_region.this.name
  collect    = var.collector_image != null
  prometheus = local.collect && var.prometheus
  cloudwatch = local.collect && length(var.cloudwatch_metrics) > 0
  traces     = local.collect && var.traces

  # MiB of a task's memory that the collector may have. The modules of the services leave it out of what the services may use.
  collector_memory_mib = 256

  processors = merge({
    memory_limiter = { check_interval = "1s", limit_mib = 180, spike_limit_mib = 40 }
    batch          = { timeout = "5s", send_batch_size = 1000, send_batch_max_size = 2000 }
    resource = { attributes = [
      # The job of a metric in Prometheus is namespace and name of its service: so clusters that share a workspace stay apart.
      { key = "service.namespace", value = var.name, action = "insert" },
      # Autoscaling's dimension.
      { key = "streamhouse.zone", from_attribute = "cloud.availability_zone", action = "insert" },
    ] }
    }, local.cloudwatch ? {
    "filter/cloudwatch" = { metrics = { include = { match_type = "regexp", metric_names = var.cloudwatch_metrics } } }
  } : {})

  exporters = merge(
    local.prometheus ? {
      prometheusremotewrite = {
        endpoint    = "https://aps-workspaces.${local.region}.${data.aws_partition.this.dns_suffix}/workspaces/${local.workspace_id}/api/v1/remote_write"
        auth        = { authenticator = "sigv4auth" }
        target_info = { enabled = true }
      }
    } : {},
    local.cloudwatch ? {
      awsemf = {
        namespace                        = var.metric_namespace
        region                           = local.region
        log_group_name                   = aws_cloudwatch_log_group.metrics[0].name
        dimension_rollup_option          = "NoDimensionRollup"
        resource_to_telemetry_conversion = { enabled = true }
        metric_declarations              = [{ dimensions = [["streamhouse.agent_group", "streamhouse.zone"]], metric_name_selectors = var.cloudwatch_metrics }]
      }
    } : {},
    local.traces ? { awsxray = { region = local.region } } : {},
  )

  pipelines = merge(
    local.prometheus ? {
      "metrics/prometheus" = { receivers = ["otlp"], processors = ["memory_limiter", "resource", "batch"], exporters = ["prometheusremotewrite"] }
    } : {},
    local.cloudwatch ? {
      "metrics/cloudwatch" = { receivers = ["otlp"], processors = ["memory_limiter", "filter/cloudwatch", "resource", "batch"], exporters = ["awsemf"] }
    } : {},
    local.traces ? {
      traces = { receivers = ["otlp"], processors = ["memory_limiter", "resource", "batch"], exporters = ["awsxray"] }
    } : {},
  )

  extensions = merge(
    { health_check = { endpoint = "127.0.0.1:13133" } },
    local.prometheus ? { sigv4auth = { region = local.region, service = "aps" } } : {},
  )

  configuration = {
    receivers  = { otlp = { protocols = { http = { endpoint = "127.0.0.1:4318" } } } }
    processors = local.processors
    exporters  = local.exporters
    extensions = local.extensions
    service = {
      extensions = keys(local.extensions)
      pipelines  = local.pipelines
      telemetry  = { logs = { level = "warn" } }
    }
  }

  collector = {
    name        = "collector"
    image       = var.collector_image
    command     = ["--config=env:STREAMHOUSE_COLLECTOR"]
    essential   = false
    cpu         = 64
    memory      = local.collector_memory_mib
    environment = [{ name = "STREAMHOUSE_COLLECTOR", value = jsonencode(local.configuration) }]
  }
}

# The collector writes a line for each moment, of which CloudWatch makes the metric.
resource "aws_cloudwatch_log_group" "metrics" {
  count = local.cloudwatch ? 1 : 0

  name              = "/${var.name}/metrics"
  retention_in_days = var.log_retention_days

  tags = var.tags
}

# What the tasks' roles need for it.

data "aws_iam_policy_document" "prometheus" {
  statement {
    actions   = ["aps:RemoteWrite"]
    resources = [local.workspace_arn]
  }
}

data "aws_iam_policy_document" "cloudwatch" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = [for group in aws_cloudwatch_log_group.metrics : "${group.arn}:*"]
  }
}

data "aws_iam_policy_document" "traces" {
  # X-Ray knows no resources.
  statement {
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }
}
