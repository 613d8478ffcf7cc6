output "host" {
  description = "Host name of the writer."
  value       = local.host
}

output "port" {
  description = "Port of PostgreSQL."
  value       = 5432
}

output "database" {
  description = "Name of the database."
  value       = "streamhouse"
}

output "username" {
  description = "The master user."
  value       = "streamhouse"
}

output "password_secret_arn" {
  description = "Secret of Secrets Manager that holds the master user's password, managed and changed by RDS. The password itself is in no state file."
  value       = local.secret_arn
}

output "security_group_id" {
  description = "Security group of the database."
  value       = aws_security_group.this.id
}

output "engine" {
  description = "rds or aurora."
  value       = var.engine
}

output "instance_identifiers" {
  description = "Instances as CloudWatch names them, by a name that is known beforehand."
  value       = local.aurora ? { for i, instance in aws_rds_cluster_instance.this : tostring(i) => instance.identifier } : { primary = aws_db_instance.this[0].identifier }
}

output "allocated_storage_gib" {
  description = "Storage to begin with, in GiB; Aurora's grows by itself."
  value       = var.allocated_storage_gib
}
