"""AWS: IAM policies, Firehose requests and receipt streams."""
