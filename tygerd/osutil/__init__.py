"""What the kernel and systemd offer that the standard library lacks. Knows nothing of buffers or runs."""
