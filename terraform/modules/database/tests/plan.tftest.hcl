mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name                      = "streamhouse"
  vpc_id                    = "vpc-1"
  subnet_ids                = ["subnet-a", "subnet-b", "subnet-c"]
  client_security_group_ids = { controlplane = "sg-controlplane" }
}

run "nothing_committed_is_lost" {
  command = apply

  assert {
    condition     = aws_db_instance.this[0].multi_az
    error_message = "the standby must be synchronous, in another zone"
  }

  assert {
    condition     = anytrue([for p in aws_db_parameter_group.this[0].parameter : p.name == "synchronous_commit" && p.value == "on"])
    error_message = "synchronous_commit must be on"
  }

  assert {
    condition     = aws_db_instance.this[0].backup_retention_period >= 7 && aws_db_instance.this[0].storage_encrypted
    error_message = "there must be backups, and storage must be encrypted"
  }
}

run "the_database_is_protected" {
  command = apply

  assert {
    condition     = aws_db_instance.this[0].deletion_protection && !aws_db_instance.this[0].skip_final_snapshot
    error_message = "deletion protection must be on"
  }

  assert {
    condition     = !aws_db_instance.this[0].publicly_accessible && alltrue([for r in aws_vpc_security_group_ingress_rule.clients : r.cidr_ipv4 == null && r.referenced_security_group_id != null])
    error_message = "only named security groups may connect"
  }

  assert {
    condition     = anytrue([for p in aws_db_parameter_group.this[0].parameter : p.name == "rds.force_ssl" && p.value == "1"])
    error_message = "connections must use TLS"
  }
}

run "no_password_in_state" {
  command = apply

  assert {
    condition     = aws_db_instance.this[0].manage_master_user_password && aws_db_instance.this[0].password == null
    error_message = "RDS manages the password"
  }

  assert {
    condition     = aws_secretsmanager_secret_rotation.master.secret_id == output.password_secret_arn
    error_message = "the password must be changed on schedule"
  }
}

run "aurora" {
  command = apply

  variables {
    engine = "aurora"
  }

  assert {
    condition     = length(aws_db_instance.this) == 0 && length(aws_rds_cluster_instance.this) == 2 && aws_rds_cluster.this[0].deletion_protection
    error_message = "an Aurora cluster has a writer and a reader that can take over, and is protected"
  }

  assert {
    condition     = output.host == aws_rds_cluster.this[0].endpoint
    error_message = "the control plane speaks to the writer"
  }
}

run "an_old_postgresql_is_refused" {
  command = plan

  variables {
    engine_version = "14"
  }

  expect_failures = [var.engine_version]
}
