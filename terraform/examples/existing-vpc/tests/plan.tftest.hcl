mock_provider "aws" {
  source = "../../mocks"
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
  images   = { controlplane = "example/controlplane:v1", agent = "example/agent:v1", collector = "example/collector:v1" }
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
