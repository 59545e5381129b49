"""Runs: created, executed by an engine, watched, cancelled, their logs kept. Knows no engine by name."""
