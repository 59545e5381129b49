"""Export and import of buffers between stores, as runs of the system's own."""
