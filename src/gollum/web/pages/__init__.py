"""The pages: forms that work without scripts, which scripts make quicker."""
