"""Messages: requests, states, receipts, failure codes, and the text of SMS and mail."""
