"""The daemon: it alone owns credentials, concurrency, retries and durable state."""
