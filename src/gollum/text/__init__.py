"""Experiments as text."""
