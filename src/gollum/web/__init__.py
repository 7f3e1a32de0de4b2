"""The lab's page and its interface for robots: a thin layer over the verbs of `Campaign`."""
