# What the provider would make up or look up, for the tests of modules and examples: ARNs must look like some.

mock_data "aws_region" {
  defaults = {
    name = "eu-west-1"
  }
}

mock_data "aws_partition" {
  defaults = {
    partition  = "aws"
    dns_suffix = "amazonaws.com"
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
mock_resource "aws_rds_cluster" {
  defaults = {
    endpoint           = "catalog.cluster.eu-west-1.rds.amazonaws.com"
    master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!cluster-1", kms_key_id = "key", secret_status = "active" }]
  }
}

mock_data "aws_caller_identity" {
  defaults = {
    account_id = "123456789012"
  }
}

mock_resource "aws_sns_topic" {
  defaults = {
    arn = "arn:aws:sns:eu-west-1:123456789012:made"
  }
}

mock_resource "aws_prometheus_workspace" {
  defaults = {
    arn = "arn:aws:aps:eu-west-1:123456789012:workspace/ws-made"
    id  = "ws-made"
  }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = {
    arn = "arn:aws:logs:eu-west-1:123456789012:log-group:made"
  }
}
