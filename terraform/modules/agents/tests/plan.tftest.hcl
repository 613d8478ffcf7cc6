mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name                      = "streamhouse"
  agent_group               = "prod"
  image                     = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/streamhouse-agent:v1"
  cluster_arn               = "arn:aws:ecs:eu-west-1:123456789012:cluster/streamhouse"
  cluster_name              = "streamhouse"
  vpc_id                    = "vpc-1"
  subnet_ids                = { eu-west-1a = "subnet-a", eu-west-1b = "subnet-b", eu-west-1c = "subnet-c" }
  security_group_id         = "sg-agents"
  client_security_group_ids = { shop = "sg-shop" }
  control_plane_url         = "http://controlplane.example"
  agent_key_secret_arn      = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod"
  bucket                    = { bucket = "records", arn = "arn:aws:s3:::records" }
}

run "a_service_in_each_zone_with_that_zone_alone" {
  command = apply

  assert {
    condition     = alltrue([for zone, s in aws_ecs_service.this : join(",", s.network_configuration[0].subnets) == var.subnet_ids[zone]]) && length(aws_ecs_service.this) == 3
    error_message = "each zone's service must have that zone's subnet and no other"
  }

  assert {
    condition     = alltrue([for zone, env in output.environments : env["STREAMHOUSE_ZONE"] == zone])
    error_message = "each zone's agents must be told their zone"
  }

  assert {
    condition = alltrue([
      for zone, t in aws_ecs_task_definition.this :
      anytrue([for e in jsondecode(t.container_definitions)[0].environment : e.name == "STREAMHOUSE_ZONE" && e.value == zone])
    ])
    error_message = "the task definition must carry the zone"
  }

  assert {
    condition     = alltrue([for s in aws_ecs_service.this : !s.network_configuration[0].assign_public_ip])
    error_message = "agents are not on the internet"
  }
}

run "the_role_reaches_its_own_prefix_alone" {
  command = apply

  assert {
    condition = alltrue(flatten([
      for s in data.aws_iam_policy_document.bucket.statement : [
        for r in s.resources : s.sid == "Objects" ? r == "arn:aws:s3:::records/prod/*" : s.sid == "List" ? r == "arn:aws:s3:::records" : false
      ]
    ]))
    error_message = "agents of one group must not touch another group's prefix"
  }

  assert {
    condition     = alltrue([for s in data.aws_iam_policy_document.bucket.statement : s.sid != "List" || anytrue([for c in s.condition : c.variable == "s3:prefix" && join(",", c.values) == "prod/*"])])
    error_message = "agents may list their own prefix alone"
  }

  assert {
    condition     = aws_iam_role_policy.bucket.role == aws_iam_role.task.id && !contains(output.secret_names, "STREAMHOUSE_S3_SECRET_KEY")
    error_message = "the bucket is reached by the task role, not by long-lived keys"
  }
}

run "a_stop_takes_longer_than_a_drain" {
  command = apply

  assert {
    condition = alltrue([
      for zone, t in aws_ecs_task_definition.this :
      jsondecode(t.container_definitions)[0].stopTimeout > tonumber(trimsuffix(output.environments[zone]["STREAMHOUSE_DRAIN_DEADLINE"], "s")) && jsondecode(t.container_definitions)[0].stopTimeout <= 120
    ])
    error_message = "ECS must not kill an agent that still hands over, and a spot notice is two minutes"
  }
}

run "buffers_and_cache_fit_into_memory" {
  command = apply

  assert {
    condition = alltrue([
      for env in values(output.environments) :
      3 * tonumber(env["STREAMHOUSE_MAX_BUFFERED_BYTES"]) + 1.5 * tonumber(env["STREAMHOUSE_CACHE_BYTES"]) <= tonumber(trimsuffix(env["GOMEMLIMIT"], "MiB")) * 1048576
    ])
    error_message = "an agent that buffers and caches all that it may must fit into its memory"
  }
}

run "a_drain_that_does_not_fit_is_refused" {
  command = plan

  variables {
    drain_deadline_seconds = 115
  }

  expect_failures = [var.stop_timeout_seconds]
}

run "scales_on_what_agents_report" {
  command = apply

  assert {
    condition     = alltrue([for t in aws_appautoscaling_target.this : t.min_capacity == 1 && t.max_capacity == 6]) && length(aws_appautoscaling_target.this) == 3
    error_message = "each zone scales within its bounds"
  }

  assert {
    condition = alltrue([
      for zone, p in aws_appautoscaling_policy.this : anytrue([
        for d in p.target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].dimensions : d.name == "streamhouse.zone" && d.value == zone
      ])
    ])
    error_message = "each zone follows its own agents' metric"
  }
}

run "no_door_open_to_the_world" {
  command = apply

  variables {
    load_balancers = true
  }

  assert {
    condition = alltrue([
      for r in concat(values(aws_vpc_security_group_ingress_rule.clients), values(aws_vpc_security_group_ingress_rule.balancer_clients), aws_vpc_security_group_ingress_rule.balancer[*], [aws_vpc_security_group_ingress_rule.agents]) :
      r.cidr_ipv4 == null && r.cidr_ipv6 == null && r.referenced_security_group_id != null
    ])
    error_message = "only named security groups may call"
  }

  assert {
    condition     = alltrue([for zone, lb in aws_lb.this : lb.internal && join(",", lb.subnets) == var.subnet_ids[zone] && !lb.enable_cross_zone_load_balancing])
    error_message = "a zone's load balancer stands in that zone and reaches no other"
  }
}

run "spot_and_names" {
  command = apply

  variables {
    capacity_providers = { FARGATE_SPOT = 3, FARGATE = 1 }
    dns_namespace      = { id = "ns-1", name = "streamhouse.internal" }
  }

  assert {
    condition     = alltrue([for s in aws_ecs_service.this : length(s.capacity_provider_strategy) == 2 && length(s.service_registries) == 1])
    error_message = "services use the providers asked for and register their names"
  }

  assert {
    condition     = output.urls["eu-west-1b"] == "http://eu-west-1b.prod.streamhouse.internal:8080"
    error_message = "each zone has a name of its own"
  }
}

run "sidecars_have_their_part_of_the_task" {
  command = apply

  variables {
    memory_mib    = 2048
    sidecars      = [{ name = "collector", image = "example/collector:v1", memory = 256, essential = false }]
    otlp_endpoint = "http://127.0.0.1:4318"
    task_policies = { traces = "{}" }
    cors_origins  = ["https://console.example.com"]
  }

  assert {
    condition = alltrue([
      for zone, env in output.environments : tonumber(trimsuffix(env["GOMEMLIMIT"], "MiB")) + 256 <= 2048 &&
      3 * tonumber(env["STREAMHOUSE_MAX_BUFFERED_BYTES"]) + 1.5 * tonumber(env["STREAMHOUSE_CACHE_BYTES"]) <= tonumber(trimsuffix(env["GOMEMLIMIT"], "MiB")) * 1048576
    ])
    error_message = "what a sidecar may have is not the agent's"
  }

  assert {
    condition     = alltrue([for t in aws_ecs_task_definition.this : jsondecode(t.container_definitions)[1].logConfiguration.options["awslogs-group"] == output.log_group])
    error_message = "a sidecar's log goes where the task may write"
  }

  assert {
    condition     = length(aws_iam_role_policy.more) == 1 && output.environments["eu-west-1a"]["STREAMHOUSE_CORS_ORIGINS"] == "https://console.example.com"
    error_message = "policies and origins must arrive"
  }
}
