"""A directory of sealed blocks, its journal and its chain: the one place that knows the format on disk."""
