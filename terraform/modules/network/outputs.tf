output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "Private subnet of each zone, by zone."
  value       = { for zone, subnet in aws_subnet.private : zone => subnet.id }
}

output "route_table_ids" {
  description = "Route table of each zone, by zone."
  value       = { for zone, table in aws_route_table.private : zone => table.id }
}

output "s3_endpoint_id" {
  description = "The S3 gateway endpoint."
  value       = aws_vpc_endpoint.s3.id
}

output "interface_endpoints" {
  description = "Interface endpoints, by AWS service."
  value       = { for service, endpoint in aws_vpc_endpoint.interface : service => endpoint.id }
}
