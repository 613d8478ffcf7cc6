mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name  = "streamhouse"
  zones = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
}

run "a_subnet_and_a_route_table_in_each_zone" {
  command = apply

  assert {
    condition     = toset([for s in aws_subnet.private : s.availability_zone]) == toset(var.zones)
    error_message = "each zone needs its subnet"
  }

  assert {
    condition     = length(distinct([for s in aws_subnet.private : s.cidr_block])) == 3
    error_message = "subnets must not overlap"
  }

  assert {
    condition     = alltrue([for zone, a in aws_route_table_association.private : a.subnet_id == aws_subnet.private[zone].id && a.route_table_id == aws_route_table.private[zone].id])
    error_message = "each subnet uses its own zone's route table"
  }
}

run "no_byte_to_s3_pays_for_nat" {
  command = apply

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && aws_vpc_endpoint.s3.service_name == "com.amazonaws.eu-west-1.s3"
    error_message = "S3 must be reached through a gateway endpoint"
  }

  assert {
    condition     = toset(aws_vpc_endpoint.s3.route_table_ids) == toset([for t in aws_route_table.private : t.id])
    error_message = "the S3 gateway endpoint must be on every route table"
  }
}

run "nothing_is_open_to_the_world" {
  command = apply

  assert {
    condition     = aws_vpc_security_group_ingress_rule.endpoints.cidr_ipv4 == var.cidr && var.cidr != "0.0.0.0/0"
    error_message = "interface endpoints are for the VPC alone"
  }
}

run "zones_must_differ" {
  command = plan

  variables {
    zones = ["eu-west-1a", "eu-west-1a"]
  }

  expect_failures = [var.zones]
}
