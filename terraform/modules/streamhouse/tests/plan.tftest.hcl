mock_provider "aws" {
  mock_data "aws_region" {
    defaults = {
      name = "eu-west-1"
    }
  }

  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }

  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
    }
  }

  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::123456789012:role/made"
    }
  }

  mock_resource "aws_lb" {
    defaults = {
      arn      = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/net/made/1"
      dns_name = "controlplane.elb.eu-west-1.amazonaws.com"
    }
  }

  mock_resource "aws_lb_target_group" {
    defaults = {
      arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/made/1"
    }
  }

  mock_resource "aws_ecs_task_definition" {
    defaults = {
      arn = "arn:aws:ecs:eu-west-1:123456789012:task-definition/made:1"
    }
  }

  mock_resource "aws_service_discovery_service" {
    defaults = {
      arn = "arn:aws:servicediscovery:eu-west-1:123456789012:service/made"
    }
  }

  mock_resource "aws_s3_bucket" {
    defaults = {
      arn = "arn:aws:s3:::records"
    }
  }

  mock_resource "aws_secretsmanager_secret" {
    defaults = {
      arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:made"
    }
  }

  mock_resource "aws_db_instance" {
    defaults = {
      address            = "catalog.example.eu-west-1.rds.amazonaws.com"
      master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds", kms_key_id = "key", secret_status = "active" }]
    }
  }
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
  images = { controlplane = "example/controlplane:v1", agent = "example/agent:v1" }
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
