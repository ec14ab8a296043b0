"""Users, sessions, second factors, invitations, API keys, workspaces and the audit log."""
