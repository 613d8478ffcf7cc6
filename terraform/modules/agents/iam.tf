# What running agents may do in AWS: read, write and delete objects under the prefix of their own agent group. They have no
# long-lived key; the task role is all.

data "aws_partition" "this" {}

data "aws_iam_policy_document" "tasks" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "Objects"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    resources = ["${var.bucket.arn}/${var.agent_group}/*"]
  }

  # The self-test at an agent's start writes below this prefix, named after the agent group too.
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket.arn]

    condition {
      # IfExists: S3 says "not found" of a missing object only to those who may list, and such a request names no prefix.
      test     = "StringLikeIfExists"
      variable = "s3:prefix"
      values   = ["${var.agent_group}/*"]
    }
  }

  dynamic "statement" {
    for_each = var.bucket.kms_key_arn == null ? [] : [var.bucket.kms_key_arn]

    content {
      sid       = "Key"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [var.agent_key_secret_arn]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  statement {
    sid       = "ImageToken"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Image"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:${data.aws_partition.this.partition}:ecr:${local.region}:*:repository/*"]
  }
}

resource "aws_iam_role" "execution" {
  name_prefix        = "${substr(local.full, 0, 28)}-exec-"
  assume_role_policy = data.aws_iam_policy_document.tasks.json

  tags = var.tags
}

resource "aws_iam_role_policy" "execution" {
  name_prefix = "start-"
  role        = aws_iam_role.execution.id
  policy      = data.aws_iam_policy_document.execution.json
}

resource "aws_iam_role" "task" {
  name_prefix        = "${substr(local.full, 0, 28)}-task-"
  assume_role_policy = data.aws_iam_policy_document.tasks.json

  tags = var.tags
}

resource "aws_iam_role_policy" "bucket" {
  name_prefix = "bucket-"
  role        = aws_iam_role.task.id
  policy      = data.aws_iam_policy_document.bucket.json
}

resource "aws_iam_role_policy" "more" {
  for_each = var.task_policies

  name_prefix = "${each.key}-"
  role        = aws_iam_role.task.id
  policy      = each.value
}
