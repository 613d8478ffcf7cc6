# Two agent groups on one control plane, one database and one bucket: apart by security groups, by IAM, by the prefix of their
# objects, by their API keys, and by the protocol itself.

module "streamhouse" {
  source = "../../modules/streamhouse"

  name        = "streamhouse"
  bucket      = var.bucket
  images      = var.images
  key_secrets = var.key_secrets
  zones       = ["${var.region}a", "${var.region}b", "${var.region}c"]

  agent_groups = {
    prod = {
      agents_per_zone           = { min = 2, desired = 2, max = 12 }
      cpu                       = 4096
      memory_mib                = 8192
      capacity_bytes_per_second = 209715200
      client_security_group_ids = { prod = aws_security_group.clients["prod"].id }
    }

    staging = {
      agents_per_zone           = { min = 1, desired = 1, max = 2 }
      capacity_providers        = { FARGATE_SPOT = 1 }
      client_security_group_ids = { staging = aws_security_group.clients["staging"].id }
    }
  }
}

resource "aws_security_group" "clients" {
  for_each = toset(["prod", "staging"])

  name_prefix = "streamhouse-${each.key}-clients-"
  description = "Producers and consumers of ${each.key}"
  vpc_id      = module.streamhouse.vpc_id
}
