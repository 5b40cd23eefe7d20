"""Generative models in JAX: flows, VAEs and GANs as pure Flax modules and pure losses, trained by one step.

- Compose: `jaxgen.bijectors`, `jaxgen.distributions`, `jaxgen.nets`, and `jaxgen.models` made of them.
- Import: `jaxgen.losses` and `jaxgen.metrics`, pure functions of arrays.
- Train: `jaxgen.fit(model, x, steps=1000)`, `jaxgen.load("runs/...")`, or the modules under `experiments`.
"""

from jaxgen.training import Settings, fit, fit_seeds, load

__all__ = ["Settings", "fit", "fit_seeds", "load"]
