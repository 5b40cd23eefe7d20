"""Translation between two domains: an experiment per published system."""
