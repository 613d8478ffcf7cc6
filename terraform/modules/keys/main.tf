# The first API keys: an administrator's, and one for the agents of each agent group. They are made by AWS while Terraform runs and written to Secrets Manager without passing through plan or
# state (ephemeral values, write-only arguments). Adding an agent group makes new keys for all; old ones stay valid until revoked.

ephemeral "aws_secretsmanager_random_password" "admin" {
  password_length     = 42
  exclude_punctuation = true
}

ephemeral "aws_secretsmanager_random_password" "agent" {
  for_each = var.agent_groups

  password_length     = 42
  exclude_punctuation = true
}

locals {
  # An API key is "shk_" and 43 characters of base64url, of which the last has two bits to spare.
  keys_version = var.keys_version * 1000 + length(var.agent_groups)
}

resource "aws_secretsmanager_secret" "admin" {
  name_prefix = "${var.name}-admin-key-"
  description = "First API key of an administrator"
  kms_key_id  = var.kms_key_arn

  tags = var.tags
}

resource "aws_secretsmanager_secret_version" "admin" {
  secret_id                = aws_secretsmanager_secret.admin.id
  secret_string_wo         = "shk_${ephemeral.aws_secretsmanager_random_password.admin.random_password}A"
  secret_string_wo_version = var.keys_version
}

# What the control plane is told: all groups in one.
resource "aws_secretsmanager_secret" "agents" {
  name_prefix = "${var.name}-agent-keys-"
  description = "First API keys of all agent groups, for the control plane"
  kms_key_id  = var.kms_key_arn

  tags = var.tags
}

resource "aws_secretsmanager_secret_version" "agents" {
  secret_id                = aws_secretsmanager_secret.agents.id
  secret_string_wo         = jsonencode({ for group, password in ephemeral.aws_secretsmanager_random_password.agent : group => "shk_${password.random_password}A" })
  secret_string_wo_version = local.keys_version
}

# What the agents of a group are told: their own.
resource "aws_secretsmanager_secret" "agent" {
  for_each = var.agent_groups

  name_prefix = "${var.name}-${each.key}-agent-key-"
  description = "First API key of the agents of agent group ${each.key}"
  kms_key_id  = var.kms_key_arn

  tags = var.tags
}

resource "aws_secretsmanager_secret_version" "agent" {
  for_each = var.agent_groups

  secret_id                = aws_secretsmanager_secret.agent[each.key].id
  secret_string_wo         = "shk_${ephemeral.aws_secretsmanager_random_password.agent[each.key].random_password}A"
  secret_string_wo_version = local.keys_version
}
