"""Features that need no language model; each module registers its own."""
