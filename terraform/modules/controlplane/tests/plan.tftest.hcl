mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name                      = "streamhouse"
  image                     = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/streamhouse-controlplane:v1"
  cluster_arn               = "arn:aws:ecs:eu-west-1:123456789012:cluster/streamhouse"
  vpc_id                    = "vpc-1"
  subnet_ids                = { eu-west-1a = "subnet-a", eu-west-1b = "subnet-b", eu-west-1c = "subnet-c" }
  security_group_id         = "sg-controlplane"
  client_security_group_ids = { agents = "sg-agents" }
  agent_groups              = ["default"]
  agent_keys_secret_arn     = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:agents"
  admin_key_secret_arn      = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin"

  database = {
    host                = "catalog.example"
    port                = 5432
    database            = "streamhouse"
    username            = "streamhouse"
    password_secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds"
  }
}

run "in_all_zones" {
  command = apply

  assert {
    condition     = toset(aws_ecs_service.this.network_configuration[0].subnets) == toset(["subnet-a", "subnet-b", "subnet-c"]) && aws_ecs_service.this.desired_count == 3
    error_message = "a replica in each zone"
  }

  assert {
    condition     = aws_lb.this.internal && !aws_ecs_service.this.network_configuration[0].assign_public_ip
    error_message = "the control plane is not on the internet"
  }
}

run "migrates_before_it_serves" {
  command = apply

  assert {
    condition = anytrue([
      for c in jsondecode(aws_ecs_task_definition.this.container_definitions) :
      c.name == "controlplane" && try(c.dependsOn[0].containerName == "migrate" && c.dependsOn[0].condition == "SUCCESS", false)
    ])
    error_message = "the schema must be there before a version serves"
  }

  assert {
    condition     = aws_ecs_service.this.deployment_minimum_healthy_percent == 100 && aws_ecs_service.this.deployment_circuit_breaker[0].rollback
    error_message = "an upgrade leaves the old version in place until the new one serves"
  }
}

run "may_do_nothing_in_aws" {
  command = apply

  assert {
    condition     = aws_iam_role_policy.execution.role == aws_iam_role.execution.id
    error_message = "the execution role has the only policy"
  }

  assert {
    condition     = !anytrue(flatten([for s in data.aws_iam_policy_document.execution.statement : [for a in s.actions : startswith(a, "s3:")]]))
    error_message = "the control plane does not reach the bucket"
  }

  assert {
    condition     = alltrue(flatten([for s in data.aws_iam_policy_document.execution.statement : [for r in s.resources : r != "*" || s.sid == "ImageToken"]]))
    error_message = "only the token for images is for all resources, as AWS wants it"
  }
}

run "secrets_are_no_settings" {
  command = apply

  assert {
    condition     = !strcontains(output.environment["STREAMHOUSE_DATABASE_URL"], "password") && join(" ", output.secret_names) == "PGPASSWORD STREAMHOUSE_BOOTSTRAP_ADMIN_KEY STREAMHOUSE_BOOTSTRAP_AGENT_KEYS"
    error_message = "passwords and keys come from secrets"
  }

  assert {
    condition     = jsondecode(aws_scheduler_schedule.redeploy[0].target[0].input).ForceNewDeployment
    error_message = "tasks must be replaced after the password has changed"
  }
}

run "no_door_open_to_the_world" {
  command = apply

  assert {
    condition     = alltrue([for r in aws_vpc_security_group_ingress_rule.clients : r.cidr_ipv4 == null]) && aws_vpc_security_group_ingress_rule.balancer.cidr_ipv4 == null
    error_message = "only named security groups may call"
  }
}

run "with_tls" {
  command = apply

  variables {
    certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
  }

  assert {
    condition     = aws_lb_listener.this.protocol == "TLS" && aws_lb_listener.this.port == 443 && startswith(output.url, "https://")
    error_message = "with a certificate the load balancer speaks TLS"
  }
}
