"""One small process beside a local run: its pipes, exit status and logs. Never imports the rest of tygerd.

Standard library and `tyger.{client,streams,errors}` only (tests/house), because it must start in tens of
milliseconds, stay small, and go on working while an upgrade replaces the daemon under it.
"""
