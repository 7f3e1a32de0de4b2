"""A comparison of methods for people: on the terminal, as CSV files and as one HTML page."""
