"""What experiments look like to a model: representations, and which columns they come from."""
