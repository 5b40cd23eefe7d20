"""Criteria of adversarial games, all minimised; real and fake are the outputs on real and generated rows.

A discriminator's output is a logit, a critic's any real number. Outputs may have more than one value a row (patches),
and the two batches may differ in size: each is averaged.
"""

from __future__ import annotations

import jax

from jaxgen.contracts import Array


def non_saturating_discriminator(real: Array, fake: Array) -> Array:
    """-E log D(x) - E log(1 - D(G(z))), D the sigmoid of the logits; its minimum over D is log 4 - 2 JS(p, q).

    Goodfellow et al. 2014, "Generative Adversarial Nets", equation 1.
    """
    return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()


def non_saturating_generator(fake: Array) -> Array:
    """-E log D(G(z)): its gradient does not vanish while the discriminator wins (Goodfellow et al. 2014, section 3)."""
    return jax.nn.softplus(-fake).mean()


def wasserstein_critic(real: Array, fake: Array) -> Array:
    """E f(G(z)) - E f(x): minus a lower bound of the Wasserstein-1 distance for f of slope at most one.

    Arjovsky et al. 2017, "Wasserstein GAN", equation 2.
    """
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Array) -> Array:
    """-E f(G(z)) (Arjovsky et al. 2017, equation 4)."""
    return -fake.mean()
