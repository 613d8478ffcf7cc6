# The first API keys, as a stack of its own, applied before the others: its outputs are their key_secrets. So a cluster can be
# planned, changed and destroyed without touching its keys.

module "keys" {
  source = "../../modules/keys"

  name         = "streamhouse"
  agent_groups = var.agent_groups
}
