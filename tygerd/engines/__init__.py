"""Where runs are executed. `base` is what every engine promises; each engine is a package beside it."""
