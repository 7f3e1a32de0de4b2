"""Replay labelled pools: configuration, loop and run folder."""
