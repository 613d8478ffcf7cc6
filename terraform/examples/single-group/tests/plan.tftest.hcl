mock_provider "aws" {
  source = "../../mocks"
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

  bucket = "records"
  images = { controlplane = "example/controlplane:v1", agent = "example/agent:v1", collector = "example/collector:v1" }
}

run "plans" {
  command = apply

  assert {
    condition     = length(output.agent_urls["default"]) == 3
    error_message = "agents in three zones"
  }
}
