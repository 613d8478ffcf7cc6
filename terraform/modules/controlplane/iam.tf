# The execution role starts tasks: it pulls the image, writes logs and hands over the secrets named here. The task role is what the
# running control plane may do in AWS: nothing but what its sidecars need. It has no way to the bucket.

data "aws_iam_policy_document" "tasks" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = compact([var.database.password_secret_arn, var.admin_key_secret_arn, var.agent_keys_secret_arn])
  }

  dynamic "statement" {
    for_each = var.database_kms_key_arn == null ? [] : [var.database_kms_key_arn]

    content {
      sid       = "SecretsKey"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
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

data "aws_partition" "this" {}

resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-cp-exec-"
  assume_role_policy = data.aws_iam_policy_document.tasks.json

  tags = var.tags
}

resource "aws_iam_role_policy" "execution" {
  name_prefix = "start-"
  role        = aws_iam_role.execution.id
  policy      = data.aws_iam_policy_document.execution.json
}

resource "aws_iam_role" "task" {
  name_prefix        = "${var.name}-cp-task-"
  assume_role_policy = data.aws_iam_policy_document.tasks.json

  tags = var.tags
}

resource "aws_iam_role_policy" "more" {
  for_each = var.task_policies

  name_prefix = "${each.key}-"
  role        = aws_iam_role.task.id
  policy      = each.value
}

# RDS changes the password on its schedule; tasks read it when they start. So they are replaced, one after the other, soon after.

data "aws_iam_policy_document" "scheduler" {
  count = var.password_rotation_schedule == null ? 0 : 1

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "redeploy" {
  count = var.password_rotation_schedule == null ? 0 : 1

  statement {
    actions   = ["ecs:UpdateService"]
    resources = [aws_ecs_service.this.id]
  }
}

resource "aws_iam_role" "redeploy" {
  count = var.password_rotation_schedule == null ? 0 : 1

  name_prefix        = "${var.name}-cp-redeploy-"
  assume_role_policy = data.aws_iam_policy_document.scheduler[0].json

  tags = var.tags
}

resource "aws_iam_role_policy" "redeploy" {
  count = var.password_rotation_schedule == null ? 0 : 1

  name_prefix = "redeploy-"
  role        = aws_iam_role.redeploy[0].id
  policy      = data.aws_iam_policy_document.redeploy[0].json
}

resource "aws_scheduler_schedule" "redeploy" {
  count = var.password_rotation_schedule == null ? 0 : 1

  name_prefix         = "${var.name}-cp-"
  description         = "Replaces the control plane's tasks so that they read the changed password of the database"
  schedule_expression = var.password_rotation_schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "arn:${data.aws_partition.this.partition}:scheduler:::aws-sdk:ecs:updateService"
    role_arn = aws_iam_role.redeploy[0].arn

    input = jsonencode({
      Cluster            = var.cluster_arn
      Service            = aws_ecs_service.this.name
      ForceNewDeployment = true
    })
  }
}
