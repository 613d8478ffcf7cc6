output "sidecars" {
  description = "Container definitions for the tasks of modules controlplane and agents."
  value       = [for image in [var.collector_image] : local.collector if image != null]
}

output "otlp_endpoint" {
  description = "Where the processes of such a task export to; empty: nowhere."
  value       = local.collect ? "http://127.0.0.1:4318" : ""
}

output "task_policies" {
  description = "Policies that the roles of such tasks need, by a name."
  value = merge(
    local.prometheus ? { prometheus = data.aws_iam_policy_document.prometheus.json } : {},
    local.cloudwatch ? { cloudwatch = data.aws_iam_policy_document.cloudwatch.json } : {},
    local.traces ? { traces = data.aws_iam_policy_document.traces.json } : {},
  )
}

output "interface_endpoints" {
  description = "AWS services that tasks must reach for it, beside logs."
  value       = concat(local.prometheus ? ["aps-workspaces"] : [], local.traces ? ["xray"] : [])
}

output "prometheus_query_url" {
  description = "What Grafana needs as the address of its data source (with SigV4); empty: there is no workspace."
  value       = local.prometheus ? "https://aps-workspaces.${local.region}.${data.aws_partition.this.dns_suffix}/workspaces/${local.workspace_id}/" : ""
}

output "alarm_topic_arn" {
  description = "SNS topic that alarms and alerts go to."
  value       = local.topic_arn
}

output "dashboards" {
  description = "Grafana's dashboards as JSON, by name: for the resource grafana_dashboard, or to import by hand."
  value       = { for file in fileset("${path.module}/dashboards", "*.json") : trimsuffix(file, ".json") => file("${path.module}/dashboards/${file}") }
}

output "collector_configuration" {
  description = "The collector's configuration."
  value       = local.configuration
}
