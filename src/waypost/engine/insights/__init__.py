"""What is looked at across areas."""
