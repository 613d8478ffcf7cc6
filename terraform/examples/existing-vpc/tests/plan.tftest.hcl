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

  mock_data "aws_vpc" {
    defaults = {
      id = "vpc-mine"
    }
  }

  mock_data "aws_subnets" {
    defaults = {
      ids = ["subnet-a", "subnet-b"]
    }
  }

  mock_data "aws_route_tables" {
    defaults = {
      ids = ["rtb-a", "rtb-b"]
    }
  }
}

override_data {
  target = data.aws_subnet.private["subnet-a"]
  values = {
    id                = "subnet-a"
    availability_zone = "eu-west-1a"
  }
}

override_data {
  target = data.aws_subnet.private["subnet-b"]
  values = {
    id                = "subnet-b"
    availability_zone = "eu-west-1b"
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

  bucket   = "records"
  vpc_name = "mine"
  images   = { controlplane = "example/controlplane:v1", agent = "example/agent:v1" }
}

run "plans" {
  command = apply

  assert {
    condition     = toset(keys(output.agent_urls["default"])) == toset(["eu-west-1a", "eu-west-1b"])
    error_message = "agents in the zones of the VPC's subnets"
  }

  assert {
    condition     = toset(aws_vpc_endpoint.s3.route_table_ids) == toset(["rtb-a", "rtb-b"])
    error_message = "the S3 gateway endpoint must be on every route table of the private subnets"
  }
}
