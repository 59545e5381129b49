"""Codespecs: what a step of processing needs, named and in versions that never change."""
