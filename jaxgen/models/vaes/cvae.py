"""The conditional VAE (Sohn et al. 2015, "Learning Structured Output Representation using Deep Conditional Generative Models").

    log p(x|c) >= E_q(z|x,c)[log p(x|z, c)] - KL(q(z|x, c) || p(z|c))

The condition c is the batch's `context`, [B, K], whatever it holds: one class, several attributes beside one another
(as `jaxgen.data.attributes` puts them), real numbers; for images also an image. Encoder and decoder get it beside what they get
otherwise. In the paper the prior is a network of it too. Many implementations leave it standard normal, so that latents
and condition are independent in the model: z is then what the condition does not say (a digit's hand), and one z may be
decoded under each condition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from flax import linen as nn

from jaxgen.models.vaes.vae import VAE
from jaxgen.nets.mlp import MLP


def conditional_vae(
    model: VAE, prior_widths: tuple[int, ...] | None = (200, 200), activation: Callable = nn.tanh
) -> VAE:
    """A VAE with a prior p(z|c), a normal whose moments a dense network of the context gives, or without.

    Encoder and decoder of any VAE are conditional where batches have a context, `dense_vae`'s and `conv_vae`'s too; then
    `sample`, `decode` and the others want `context=`.

    Args:
        prior_widths: hidden units of the prior's network; None for the standard normal prior p(z).
    """
    return dataclasses.replace(model, prior=None if prior_widths is None else MLP(prior_widths, activation))
