"""Adversarial losses, all minimised. `real` and `fake` are the outputs on real and generated examples, of any shape.

Discriminators return logits, critics any real numbers. Outputs may have several values per example (patches), and the
batches may differ in size: each is averaged. The losses are scalars.
"""

from __future__ import annotations

import jax

from jaxgen.arguments import as_arrays, check_number
from jaxgen.contracts import Array
from jaxgen.losses.f_divergences import Divergence
from jaxgen.losses.sequences import normalized_weights


def non_saturating_discriminator(real: Array, fake: Array, real_label: float = 1.0) -> Array:
    """-E log D(x) - E log(1 - D(G(z))), D the sigmoid of the logits; the minimum over D is log 4 - 2 JS(p, q).

    Goodfellow et al. 2014, "Generative Adversarial Nets", equation 1.

    Args:
        real_label: label l of real examples, 0.9 for one-sided smoothing: the first term becomes the cross-entropy
            -E [l log D(x) + (1 - l) log(1 - D(x))]. Labels of generated examples stay zero: smoothing them would
            reinforce the generator's errors (Salimans et al. 2016, "Improved Techniques for Training GANs", section
            3.4).
    """
    check_number("real_label", real_label, 0, 1)
    real, fake = as_arrays("*", real=real, fake=fake)
    on_real = real_label * jax.nn.softplus(-real) + (1 - real_label) * jax.nn.softplus(real)
    return on_real.mean() + jax.nn.softplus(fake).mean()


def non_saturating_generator(fake: Array) -> Array:
    """-E log D(G(z)), with a gradient while the discriminator wins (Goodfellow et al. 2014, section 3)."""
    (fake,) = as_arrays("*", fake=fake)
    return jax.nn.softplus(-fake).mean()


def minimax_generator(fake: Array) -> Array:
    """E log(1 - D(G(z))), whose gradient vanishes while the discriminator wins (Goodfellow et al. 2014, equation 1).
    """
    (fake,) = as_arrays("*", fake=fake)
    return -jax.nn.softplus(fake).mean()


def least_squares_critic(real: Array, fake: Array, a: float = 0.0, b: float = 1.0) -> Array:
    """1/2 E (D(x) - b)^2 + 1/2 E (D(G(z)) - a)^2.

    Mao et al. 2017, "Least Squares Generative Adversarial Networks", equation 2. With b - c = 1 and b - a = 2 the
    generator descends Pearson's chi^2 divergence between p + q and 2 q (section 3.2).

    Args:
        a, b: targets of generated and real examples.
    """
    real, fake = as_arrays("*", real=real, fake=fake)
    return 0.5 * ((real - b) ** 2).mean() + 0.5 * ((fake - a) ** 2).mean()


def least_squares_generator(fake: Array, c: float = 1.0) -> Array:
    """1/2 E (D(G(z)) - c)^2 (Mao et al. 2017, equation 2)."""
    (fake,) = as_arrays("*", fake=fake)
    return 0.5 * ((fake - c) ** 2).mean()


def hinge_critic(real: Array, fake: Array) -> Array:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))).

    Lim & Ye 2017, "Geometric GAN"; Zhang et al. 2019, "Self-Attention Generative Adversarial Networks", equation 4.
    """
    real, fake = as_arrays("*", real=real, fake=fake)
    return jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + fake).mean()


def hinge_generator(fake: Array) -> Array:
    """-E D(G(z)) (Zhang et al. 2019, equation 4)."""
    (fake,) = as_arrays("*", fake=fake)
    return -fake.mean()


def wasserstein_critic(real: Array, fake: Array) -> Array:
    """E f(G(z)) - E f(x): minus a lower bound of the Wasserstein-1 distance if f is 1-Lipschitz.

    Arjovsky et al. 2017, "Wasserstein GAN", equation 2.
    """
    real, fake = as_arrays("*", real=real, fake=fake)
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Array) -> Array:
    """-E f(G(z)) (Arjovsky et al. 2017, equation 4)."""
    (fake,) = as_arrays("*", fake=fake)
    return -fake.mean()


def importance_weighted_generator(fake: Array) -> Array:
    """-sum_i w_i log D(G(z_i)), with `normalized_weights` over the batch; fake is [B].

    Its gradient is that of Hu et al. 2018, equation 16; the discriminator's loss is unchanged.
    """
    (fake,) = as_arrays("B", fake=fake)
    return (normalized_weights(fake) * jax.nn.softplus(-fake)).sum()


def boundary_seeking_generator(fake: Array) -> Array:
    """E (log D(G(z)) - log(1 - D(G(z))))^2 = E logit^2, for continuous data.

    It moves samples to the discriminator's decision boundary (Hjelm et al. 2018, as in their code).
    """
    (fake,) = as_arrays("*", fake=fake)
    return (fake**2).mean()


def f_gan_critic(real: Array, fake: Array, divergence: Divergence) -> Array:
    """-(E_p g_f(v) - E_q f*(g_f(v))): minus a lower bound of the divergence D_f(p, q).

    Nowozin et al. 2016, equation 6.

    Args:
        real, fake: the critic's outputs v on real and generated examples, any real numbers.
    """
    real, fake = as_arrays("*", real=real, fake=fake)
    return divergence.conjugate_of_activation(fake).mean() - divergence.activation(real).mean()


def f_gan_generator(fake: Array, divergence: Divergence, alternative: bool = False) -> Array:
    """-E_q f*(g_f(v)), the part of equation 6 that depends on the generator (Nowozin et al. 2016).

    Args:
        fake: the critic's outputs v on generated examples.
        alternative: -E_q g_f(v) instead, which does not saturate while the critic wins; for `OriginalGAN` it is
            `non_saturating_generator` (section 3.2).
    """
    (fake,) = as_arrays("*", fake=fake)
    if alternative:
        return -divergence.activation(fake).mean()
    return -divergence.conjugate_of_activation(fake).mean()
