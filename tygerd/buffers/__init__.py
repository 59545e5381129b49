"""Buffers as their users know them: creating and tagging, deleting and expiring, access URLs.

The bytes are the stores' affair, and moving them is `streams`'.
"""
