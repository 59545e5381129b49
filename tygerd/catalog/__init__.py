"""What the daemon remembers: schema, migrations and queries. One writer, always in a worker thread."""
