"""Bytes on their way: capture from a pipe into blocks, verified fetch out of them, and who does which."""
