# In a VPC of your own, found by its tags. Its private subnets need the S3 gateway endpoint, which is made here, and a way to ECR,
# CloudWatch Logs and Secrets Manager, which such a VPC mostly has.

data "aws_vpc" "this" {
  tags = { Name = var.vpc_name }
}

data "aws_subnets" "private" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.this.id]
  }

  tags = { tier = "private" }
}

data "aws_subnet" "private" {
  for_each = toset(data.aws_subnets.private.ids)

  id = each.key
}

data "aws_route_tables" "private" {
  vpc_id = data.aws_vpc.this.id

  filter {
    name   = "association.subnet-id"
    values = data.aws_subnets.private.ids
  }
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = data.aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = data.aws_route_tables.private.ids
}

module "streamhouse" {
  source = "../../modules/streamhouse"

  name          = "streamhouse"
  bucket        = var.bucket
  images        = var.images
  key_secrets   = var.key_secrets
  dns_namespace = "streamhouse.internal"

  existing_vpc = {
    vpc_id     = data.aws_vpc.this.id
    subnet_ids = { for subnet in data.aws_subnet.private : subnet.availability_zone => subnet.id }
  }
}
