"""Bayesian optimization of experiments with a language-model deep kernel."""

__version__ = "0.1.0"
