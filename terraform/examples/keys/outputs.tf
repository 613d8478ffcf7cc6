output "key_secrets" {
  description = "What the clusters' stacks take as key_secrets."
  value       = module.keys
}
