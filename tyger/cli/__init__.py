"""The commands, one file a noun: arguments, one call, output. `root` finds them and imports only one."""
