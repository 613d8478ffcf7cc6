mock_provider "aws" {
  source = "../../mocks"
}

variables {
  bucket = "records"
}

run "the_bucket_keeps_what_it_has" {
  command = apply

  assert {
    condition     = !aws_s3_bucket.this.force_destroy
    error_message = "the bucket must not be destroyed with its records"
  }

  assert {
    condition     = contains([for s in data.aws_iam_policy_document.bucket.statement : s.sid], "KeepTheBucket")
    error_message = "the policy must deny DeleteBucket"
  }

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Disabled"
    error_message = "the bucket is unversioned"
  }
}

run "only_tls_and_nobody_from_outside" {
  command = apply

  assert {
    condition = anytrue([
      for s in data.aws_iam_policy_document.bucket.statement :
      s.sid == "TLSOnly" && s.effect == "Deny" && contains(s.actions, "s3:*") && anytrue([for c in s.condition : c.variable == "aws:SecureTransport" && contains(c.values, "false")])
    ])
    error_message = "requests without TLS must be denied"
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls, aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls, aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "public access must be blocked"
  }
}

run "unfinished_uploads_go_away" {
  command = apply

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this.rule[0].abort_incomplete_multipart_upload[0].days_after_initiation == 1
    error_message = "unfinished multipart uploads must be aborted"
  }
}

run "a_trial_can_be_destroyed" {
  command = apply

  variables {
    force_destroy = true
  }

  assert {
    condition     = !contains([for s in data.aws_iam_policy_document.bucket.statement : s.sid], "KeepTheBucket")
    error_message = "a trial's bucket may be deleted"
  }
}
