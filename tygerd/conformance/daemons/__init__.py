"""What every engine must do behind a daemon, free of pytest: `site` is the frame, others the checks."""
