mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name            = "streamhouse"
  collector_image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/collector:v1"
  cluster_name    = "streamhouse"
  bucket          = "records"

  control_plane = { service_name = "streamhouse-controlplane", load_balancer_suffix = "net/cp/1", target_group_suffix = "targetgroup/cp/1" }

  agents = {
    prod = {
      service_names          = { eu-west-1a = "streamhouse-prod-eu-west-1a", eu-west-1b = "streamhouse-prod-eu-west-1b" }
      load_balancer_suffixes = { eu-west-1a = "net/a/1", eu-west-1b = "net/b/1" }
      target_group_suffixes  = { eu-west-1a = "targetgroup/a/1", eu-west-1b = "targetgroup/b/1" }
    }
  }

  database = { engine = "rds", instance_identifiers = { primary = "streamhouse-1" }, allocated_storage_gib = 100 }
}

run "everything" {
  command = apply

  assert {
    condition = alltrue(flatten([for name, p in output.collector_configuration.service.pipelines : [
      [for r in p.receivers : contains(keys(output.collector_configuration.receivers), r)],
      [for r in p.processors : contains(keys(output.collector_configuration.processors), r)],
      [for e in p.exporters : contains(keys(output.collector_configuration.exporters), e)],
    ]])) && length(output.collector_configuration.service.pipelines) == 3
    error_message = "pipelines must consist of what is configured"
  }

  assert {
    condition     = output.collector_configuration.exporters.prometheusremotewrite.endpoint == "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-made/api/v1/remote_write" && contains(output.collector_configuration.service.extensions, output.collector_configuration.exporters.prometheusremotewrite.auth.authenticator)
    error_message = "metrics go to the workspace, signed"
  }

  assert {
    condition     = jsondecode(output.sidecars[0].environment[0].value) == jsondecode(jsonencode(output.collector_configuration)) && strcontains(output.sidecars[0].command[0], output.sidecars[0].environment[0].name)
    error_message = "the collector must be told its configuration"
  }

  assert {
    condition     = output.sidecars[0].essential == false && output.collector_configuration.processors.memory_limiter.limit_mib + output.collector_configuration.processors.memory_limiter.spike_limit_mib < output.sidecars[0].memory
    error_message = "a collector that fails or grows must not take its task along"
  }

  assert {
    condition     = toset(keys(output.task_policies)) == toset(["prometheus", "cloudwatch", "traces"]) && toset(output.interface_endpoints) == toset(["aps-workspaces", "xray"])
    error_message = "tasks may do what the collector needs"
  }

  assert {
    condition = alltrue([for p in [data.aws_iam_policy_document.prometheus, data.aws_iam_policy_document.cloudwatch] : alltrue([
      for s in p.statement : !contains(s.resources, "*")
    ])])
    error_message = "only X-Ray knows no resources"
  }

  assert {
    condition     = aws_prometheus_rule_group_namespace.this[0].data == file("alerts.yaml")
    error_message = "the workspace gets the alert rules"
  }

  assert {
    condition     = yamldecode(yamldecode(aws_prometheus_alert_manager_definition.this[0].definition).alertmanager_config).receivers[0].sns_configs[0].topic_arn == output.alarm_topic_arn
    error_message = "alerts must reach the topic"
  }

  assert {
    condition     = toset(keys(aws_cloudwatch_metric_alarm.database)) == toset(["database-cpu-primary", "database-memory-primary", "database-connections-primary", "database-storage-primary"])
    error_message = "the database is watched"
  }

  assert {
    condition     = toset(keys(aws_cloudwatch_metric_alarm.tasks)) == toset(["control-plane-tasks", "agent-tasks-prod-eu-west-1a", "agent-tasks-prod-eu-west-1b"]) && length(aws_cloudwatch_metric_alarm.targets) == 3
    error_message = "each service and each load balancer is watched"
  }

  assert {
    condition = alltrue([
      for a in concat(values(aws_cloudwatch_metric_alarm.database), values(aws_cloudwatch_metric_alarm.tasks), values(aws_cloudwatch_metric_alarm.targets), values(aws_cloudwatch_metric_alarm.bucket)) :
      a.alarm_actions == toset([output.alarm_topic_arn]) && strcontains(a.alarm_description, "docs/runbooks.md#")
    ])
    error_message = "each alarm says where it is explained, to somebody"
  }

  assert {
    condition     = length(output.dashboards) == 8 && alltrue([for name, text in output.dashboards : jsondecode(text).uid == "streamhouse-${name}"])
    error_message = "the dashboards are there"
  }

  assert {
    condition     = alltrue([for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : w.x + w.width <= 24 && try(length(w.properties.metrics) > 0, w.type == "text")])
    error_message = "no widget of the dashboard is empty"
  }
}

run "without_a_collector_there_is_what_aws_measures" {
  command = apply

  variables {
    collector_image = null
    alarm_topic_arn = "arn:aws:sns:eu-west-1:123456789012:mine"
    database        = { engine = "aurora", instance_identifiers = { "0" = "streamhouse-1", "1" = "streamhouse-2" }, allocated_storage_gib = 100 }
    agents          = { prod = { service_names = { eu-west-1a = "streamhouse-prod-eu-west-1a" }, load_balancer_suffixes = {}, target_group_suffixes = {} } }
  }

  assert {
    condition     = length(output.sidecars) == 0 && output.otlp_endpoint == "" && length(output.task_policies) == 0 && length(aws_prometheus_workspace.this) == 0 && length(aws_prometheus_rule_group_namespace.this) == 0
    error_message = "nothing is collected"
  }

  assert {
    condition     = length(aws_sns_topic.this) == 0 && alltrue([for a in values(aws_cloudwatch_metric_alarm.database) : a.alarm_actions == toset(["arn:aws:sns:eu-west-1:123456789012:mine"])])
    error_message = "alarms go to the topic that is there"
  }

  assert {
    condition     = contains(keys(aws_cloudwatch_metric_alarm.database), "database-replica-lag-1") && !contains(keys(aws_cloudwatch_metric_alarm.database), "database-storage-0") && length(aws_cloudwatch_metric_alarm.targets) == 1
    error_message = "Aurora has a reader, and storage without an end; what has no load balancer has no targets"
  }
}

run "a_workspace_of_yours" {
  command = plan

  variables {
    prometheus_workspace_arn = "arn:aws:aps:eu-west-1:123456789012:workspace/ws-mine"
    traces                   = false
    cloudwatch_metrics       = []
  }

  assert {
    condition     = aws_prometheus_rule_group_namespace.this[0].workspace_id == "ws-mine" && length(aws_prometheus_alert_manager_definition.this) == 0
    error_message = "rules go there, its alert manager stays yours"
  }

  assert {
    condition     = toset(keys(output.collector_configuration.service.pipelines)) == toset(["metrics/prometheus"]) && toset(keys(output.task_policies)) == toset(["prometheus"])
    error_message = "nothing else is sent"
  }
}
