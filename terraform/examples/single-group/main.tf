# The usual case: one agent group in three zones, everything made for it.

module "streamhouse" {
  source = "../../modules/streamhouse"

  name        = "streamhouse"
  bucket      = var.bucket
  images      = var.images
  key_secrets = var.key_secrets
  zones       = ["${var.region}a", "${var.region}b", "${var.region}c"]

  agent_groups = {
    default = {
      # Each zone begins with one agent and grows to six with its load. Spot instances carry most of it: an agent that is taken
      # away hands over within its two minutes' notice.
      agents_per_zone           = { min = 1, desired = 1, max = 6 }
      capacity_providers        = { FARGATE = 1, FARGATE_SPOT = 3 }
      client_security_group_ids = { applications = aws_security_group.applications.id }
    }
  }

  operator_security_group_ids = { operators = aws_security_group.operators.id }
}

# Give this one to what produces and consumes.
resource "aws_security_group" "applications" {
  name_prefix = "streamhouse-applications-"
  description = "Producers and consumers of StreamHouse"
  vpc_id      = module.streamhouse.vpc_id
}

# And this one to the machines from which people call the control plane.
resource "aws_security_group" "operators" {
  name_prefix = "streamhouse-operators-"
  description = "Operators of StreamHouse"
  vpc_id      = module.streamhouse.vpc_id
}
