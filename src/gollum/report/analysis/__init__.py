"""What a model has learned, as pictures with a sentence each, on one page."""
