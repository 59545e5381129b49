"""Runs as processes of this host, a supervisor beside each: an image is a directory, or the host itself."""
