"""What things are and what follows; pure."""
