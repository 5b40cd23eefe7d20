"""The conditional VAE (Sohn et al. 2015, "Learning Structured Output Representation using Deep Conditional Generative
Models").

    log p(x|c) >= E_q(z|x,c)[log p(x|z, c)] - KL(q(z|x, c) || p(z|c))

The condition c is the batch's `context`, [B, K]: classes, several attributes (as `jaxgen.data.attributes` concatenates
them), real numbers; for images also an image. It is concatenated to the inputs of encoder and decoder. In the paper the
prior is a network of c too. Many implementations leave it standard normal, so that z is independent of c in the model:
it encodes what c does not (the handwriting of a digit), and one z can be decoded under each condition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from flax import linen as nn

from jaxgen.models.vaes.priors import ContextPrior, StandardPrior
from jaxgen.models.vaes.vae import VAE
from jaxgen.nets.mlp import MLP


def conditional_vae(
    model: VAE, prior_widths: tuple[int, ...] | None = (200, 200), activation: Callable = nn.tanh
) -> VAE:
    """The VAE with a normal prior p(z|c), its moments computed from the context by a dense network, or with p(z).

    Encoder and decoder of any VAE are conditional if batches have a context; then `sample`, `decode` and the others
    require `context=`.

    Args:
        prior_widths: hidden units of the prior's network; None: the standard normal prior p(z).
    """
    prior = StandardPrior() if prior_widths is None else ContextPrior(MLP(prior_widths, activation))
    return dataclasses.replace(model, prior=prior)
