"""Out to the network: HTTP and SMTP over libcurl, OAuth tokens."""
