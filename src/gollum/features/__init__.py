"""Features that need no language model."""
