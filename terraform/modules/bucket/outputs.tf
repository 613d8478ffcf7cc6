output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.id
}

output "arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.this.arn
}

output "kms_key_arn" {
  description = "KMS key that encrypts the objects; null: S3's own."
  value       = var.kms_key_arn
}

output "express_buckets" {
  description = "S3 Express directory buckets, by zone id."
  value       = { for zone, bucket in aws_s3_directory_bucket.express : zone => bucket.bucket }
}
