"""The Wasserstein GAN with clipped weights (Arjovsky et al. 2017, "Wasserstein GAN", algorithm 1).

    critic:     E f(G(z)) - E f(x), every weight of f clipped to +-0.01 after each move
    generator:  -E f(G(z))

The critic makes five moves per move of the generator; RMSProp 5e-5 for both.
"""

from __future__ import annotations

import dataclasses

import optax

from jaxgen.losses.clipping import clip_weights
from jaxgen.models.gans.adversarial_losses import AdversarialLoss, Wasserstein
from jaxgen.models.gans.gan import GAN


def rmsprop(learning_rate: float = 5e-5, bound: float | None = None) -> optax.GradientTransformation:
    """RMSProp of the WGAN.

    Args:
        bound: after each move every weight is clipped to +-bound, the paper's 0.01 for the critic; None: no clipping.
    """
    optimizer = optax.rmsprop(learning_rate, decay=0.99)
    return optimizer if bound is None else optax.chain(optimizer, clip_weights(bound))


@dataclasses.dataclass(frozen=True, kw_only=True)
class WGAN(GAN):
    """A `GAN` with the Wasserstein loss; the optimizer of its critic clips the weights."""

    adversarial_loss: AdversarialLoss = Wasserstein()
    critic_steps: int = 5

    def _optimizer(self, play: str) -> optax.GradientTransformation:
        return rmsprop(bound=0.01 if play == "critic" else None)
