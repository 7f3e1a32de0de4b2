"""What the commands other than `run` and `demo` do."""
