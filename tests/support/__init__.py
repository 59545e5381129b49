"""What system tests share: real programs in directories of their own."""
