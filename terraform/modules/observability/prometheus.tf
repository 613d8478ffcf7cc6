# The workspace, its alert rules, and the way from them to people. The rules are the file that any Prometheus takes.

locals {
  made_workspace = local.prometheus && var.prometheus_workspace_arn == null
  workspace_arn  = local.made_workspace ? aws_prometheus_workspace.this[0].arn : coalesce(var.prometheus_workspace_arn, "none")
  workspace_id   = local.made_workspace ? aws_prometheus_workspace.this[0].id : element(split("/", local.workspace_arn), length(split("/", local.workspace_arn)) - 1)
}

resource "aws_prometheus_workspace" "this" {
  count = local.made_workspace ? 1 : 0

  alias = var.name

  tags = var.tags
}

resource "aws_prometheus_rule_group_namespace" "this" {
  count = local.prometheus ? 1 : 0

  name         = var.name
  workspace_id = local.workspace_id
  data         = file("${path.module}/alerts.yaml")

  tags = var.tags
}

# A workspace has one definition: in one of yours it is yours.
resource "aws_prometheus_alert_manager_definition" "this" {
  count = local.made_workspace ? 1 : 0

  workspace_id = local.workspace_id

  definition = yamlencode({
    alertmanager_config = yamlencode({
      route = {
        receiver        = "topic"
        group_by        = ["alertname", "job", "severity"]
        group_wait      = "30s"
        group_interval  = "5m"
        repeat_interval = "4h"
      }
      receivers = [{
        name = "topic"
        sns_configs = [{
          topic_arn  = local.topic_arn
          sigv4      = { region = local.region }
          attributes = { severity = "{{ .CommonLabels.severity }}" }
          message    = "{{ range .Alerts }}{{ .Status }}: {{ .Annotations.summary }}\n{{ .Annotations.runbook_url }}\n{{ end }}"
        }]
      }]
    })
  })
}

# One topic for alarms of CloudWatch and alerts of Prometheus.

locals {
  topic_arn = var.alarm_topic_arn == null ? aws_sns_topic.this[0].arn : var.alarm_topic_arn
}

resource "aws_sns_topic" "this" {
  count = var.alarm_topic_arn == null ? 1 : 0

  name = "${var.name}-alarms"

  tags = var.tags
}

data "aws_caller_identity" "this" {}

data "aws_iam_policy_document" "topic" {
  statement {
    actions   = ["sns:Publish", "sns:GetTopicAttributes"]
    resources = [local.topic_arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "aps.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "this" {
  count = var.alarm_topic_arn == null ? 1 : 0

  arn    = local.topic_arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_sns_topic_subscription" "emails" {
  for_each = var.alarm_topic_arn == null ? var.alarm_emails : []

  topic_arn = local.topic_arn
  protocol  = "email"
  endpoint  = each.value
}
