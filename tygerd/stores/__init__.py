"""Where buffers are kept: one protocol, one file a store."""
