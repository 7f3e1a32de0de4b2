"""A campaign for people: its state on the terminal, and one page with all that it has learned."""
