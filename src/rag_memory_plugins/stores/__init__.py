"""The engines behind the store ports, one client library a file."""
