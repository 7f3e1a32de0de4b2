"""Pure functions on tables and arrays: metrics and statistics."""
