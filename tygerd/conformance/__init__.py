"""What every store and every engine must do, free of pytest: for our tests and for `tygerd check-store`."""
