"""Gaussian processes on fixed and on learned features."""
