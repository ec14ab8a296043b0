"""What is particular to AWS: IAM policies, Firehose requests and receipt streams."""
