"""Users, sessions, second factors, invitations, API keys, workspaces, senders, the server and the audit log."""
