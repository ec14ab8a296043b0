"""Accept, queue, send and record messages, and apply receipts."""
