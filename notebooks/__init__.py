"""Notebooks that show this package at work, and what executes them."""
