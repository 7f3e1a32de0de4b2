"""Many runs: a spec → cells, each a run in its own folder → engines → tidy records."""
