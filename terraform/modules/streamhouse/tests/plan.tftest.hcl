mock_provider "aws" {
  source = "../../mocks"
}

variables {
  key_secrets = {
    admin_secret_arn  = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin"
    agents_secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:agents"
    agent_secret_arns = {
      default = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:default"
      prod    = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod"
      staging = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:staging"
    }
  }

  bucket = "records"
  zones  = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
  images = { controlplane = "example/controlplane:v1", agent = "example/agent:v1", collector = "example/collector:v1" }
}

run "one_group_in_three_zones" {
  command = apply

  assert {
    condition     = length(module.agents["default"].service_names) == 3 && toset(keys(output.agent_urls["default"])) == toset(var.zones)
    error_message = "agents in each zone"
  }

  assert {
    condition     = output.agent_environments["default"]["eu-west-1a"]["STREAMHOUSE_CONTROL_PLANE"] == output.control_plane_url
    error_message = "agents must know the control plane"
  }
}

# Nothing exists yet: what is not known before it is made must not decide how many of something there are.
run "plans_from_nothing" {
  command = plan

  assert {
    condition     = length(module.agents["default"].service_names) == 3
    error_message = "agents in each zone"
  }
}

run "one_group_is_seen" {
  command = apply

  assert {
    condition     = alltrue([for env in concat(values(output.agent_environments["default"]), [output.control_plane_environment]) : env["STREAMHOUSE_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"])
    error_message = "the processes must export to their collector"
  }

  assert {
    condition     = output.agent_environments["default"]["eu-west-1a"]["STREAMHOUSE_CORS_ORIGINS"] == output.control_plane_url
    error_message = "the console, which the control plane serves, must be able to call agents"
  }

  assert {
    condition     = contains(keys(module.network[0].interface_endpoints), "aps-workspaces") && contains(keys(module.network[0].interface_endpoints), "xray")
    error_message = "a VPC without a way out needs endpoints for what the collector calls"
  }
}

run "autoscaling_needs_a_collector" {
  command = plan

  variables {
    images = { controlplane = "example/controlplane:v1", agent = "example/agent:v1" }
  }

  expect_failures = [var.autoscaling]
}

run "two_groups_apart" {
  command = apply

  variables {
    agent_groups = { prod = {}, staging = { agents_per_zone = { max = 2 } } }
  }

  assert {
    condition     = output.control_plane_environment["STREAMHOUSE_AGENT_GROUPS"] == "prod,staging"
    error_message = "the control plane must know both agent groups"
  }

  assert {
    condition     = length(aws_security_group.agents) == 2 && length(module.agents) == 2
    error_message = "each agent group has a security group of its own"
  }

  assert {
    condition     = alltrue([for r in aws_vpc_security_group_ingress_rule.knock : r.cidr_ipv4 == null])
    error_message = "only the control plane knocks"
  }
}

run "a_vpc_of_your_own" {
  command = apply

  variables {
    zones        = []
    existing_vpc = { vpc_id = "vpc-mine", subnet_ids = { eu-west-1a = "subnet-a", eu-west-1b = "subnet-b" } }
  }

  assert {
    condition     = length(module.network) == 0 && output.vpc_id == "vpc-mine"
    error_message = "no VPC is made"
  }
}

run "one_zone_is_too_few" {
  command = plan

  variables {
    zones = ["eu-west-1a"]
  }

  expect_failures = [var.existing_vpc]
}
