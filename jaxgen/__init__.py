"""Generative models in JAX: flows, VAEs and GANs as pure Flax modules and pure losses, trained by one step.

- Compose: `jaxgen.bijectors`, `jaxgen.distributions`, `jaxgen.nets`, and `jaxgen.models` made of them.
- Import: `jaxgen.losses` and `jaxgen.metrics`, pure functions of arrays; `jaxgen.attacks`, of a classifier.
- Train: `jaxgen.fit(model, x, steps=1000)`, `jaxgen.load("runs/...")`, or the modules under `experiments`.
"""

from typing import TYPE_CHECKING

from jaxgen.lazy import lazy

if TYPE_CHECKING:
    from jaxgen import (
        attacks,
        bijectors,
        contracts,
        data,
        distributions,
        losses,
        metrics,
        models,
        nets,
        plotting,
        training,
    )
    from jaxgen.training import Settings, fit, fit_seeds, load

__all__ = [
    "Settings", "attacks", "bijectors", "contracts", "data", "distributions", "fit", "fit_seeds", "load", "losses",
    "metrics", "models", "nets", "plotting", "training",
]  # fmt: skip
__getattr__, __dir__ = lazy(
    __name__, __all__, dict.fromkeys(("Settings", "fit", "fit_seeds", "load"), "jaxgen.training")
)
