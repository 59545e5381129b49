"""Runs as containers of a Docker or Podman engine: the daemon's side. A supervisor stands beside each run."""
