"""What every engine must do, free of pytest: `bench` is the frame, the other modules the checks."""
