"""Example notebooks, and the command that executes them."""
