"""What engines share whose runs have a supervisor beside them (`tygerd.supervisor`), whatever it executes."""
