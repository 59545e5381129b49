"""The commands: tiny, pipeable programs that hand their descriptors to the daemon."""

__version__ = "0.1.0"
