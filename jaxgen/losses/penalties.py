"""Penalties on critics (gradients, consistency) and generators (Jacobians, proximity)."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_number
from jaxgen.contracts import Array, Key
from jaxgen.losses.squared_distance import squared_distance
from jaxgen.precision import at_least_float32

Critic = Callable[[Array], Array]
"""[B, ...] to [B], each output a function of its own example only."""


def interpolate(real: Array, fake: Array, key: Key) -> Array:
    """Points e x + (1 - e) x' between paired examples, with one e ~ U[0, 1) per example: [B, ...]."""
    real, fake = as_arrays("B ...", real=real, fake=fake)
    e = jax.random.uniform(key, (real.shape[0],) + (1,) * (real.ndim - 1), real.dtype)
    return e * real + (1 - e) * fake


def dragan_points(real: Array, key: Key, shrink: bool = False) -> Array:
    """Points x + 1/2 std U near real examples, with U ~ U[0, 1) per value: [B, ...].

    std is the standard deviation of all values of the batch. Kodali et al. 2017, "On Convergence and Stability of
    GANs", with the usual uniform noise in place of the paper's normal noise.

    Args:
        shrink: multiply the noise of each example by another number ~ U[0, 1), as some implementations do.
    """
    (real,) = as_arrays("B *", real=real)
    noise_key, scale_key = jax.random.split(key)
    noise = 0.5 * real.std() * jax.random.uniform(noise_key, real.shape, real.dtype)
    if shrink:
        noise *= jax.random.uniform(scale_key, (real.shape[0],) + (1,) * (real.ndim - 1), real.dtype)
    return real + noise


def squared_slopes(critic: Critic, x: Array) -> Array:
    """The squared Euclidean norm of the critic's gradient at each example, over all its dimensions: [B, ...] to [B]."""

    def total(x):
        # outputs depend only on their own examples, so the gradient of the sum has the gradient of each
        outputs = critic(x)
        if not hasattr(outputs, "shape") or outputs.shape != x.shape[:1]:
            shape = getattr(outputs, "shape", type(outputs).__name__)
            raise ValueError(f"critic(x) must be one number per example, [B], got {shape} for x of shape {x.shape}")
        if not jnp.issubdtype(outputs.dtype, jnp.floating):
            raise TypeError(f"critic(x) must be floats, got {outputs.dtype}")
        return outputs.sum()

    (x,) = as_arrays("B *", x=x)
    gradient = jax.grad(total)(x)
    return (at_least_float32(gradient) ** 2).sum(tuple(range(1, x.ndim)))


def gradient_norm(critic: Critic, x: Array) -> Array:
    """The root of `squared_slopes`: [B, ...] to [B]. Its derivative at a zero gradient is zero.
    """
    squared = squared_slopes(critic, x)
    flat = squared == 0
    return jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, squared)))


def norm_penalty(norms: Array, target: float = 1.0, weight: float = 10.0, one_sided: bool = False) -> Array:
    """weight E (norm - target)^2, a scalar, from the norms [B].

    Args:
        one_sided: weight E max(0, norm - target)^2, which does not penalise smaller norms (Gulrajani et al. 2017,
            section 4; Petzka et al. 2018, "On the Regularization of Wasserstein GANs").
    """
    check_number("weight", weight, 0)
    (norms,) = as_arrays("B", norms=norms)
    excess = norms - target
    return weight * ((jax.nn.relu(excess) if one_sided else excess) ** 2).mean()


def gradient_penalty(
    critic: Critic,
    real: Array,
    fake: Array,
    key: Key,
    target: float = 1.0,
    weight: float = 10.0,
    one_sided: bool = False,
) -> Array:
    """weight E (|grad f(x^)| - target)^2 at points x^ between real and generated examples, a scalar.

    Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", equation 3.

    Args:
        critic: [B, ...] to [B], without batch normalisation, which makes outputs depend on other examples.
        real, fake: [B, ...]; stop the gradient into `fake` if the critic's loss must not reach the generator.
        one_sided: as in `norm_penalty`.
    """
    return norm_penalty(gradient_norm(critic, interpolate(real, fake, key)), target, weight, one_sided)


def pixel_gradient_penalty(
    patches: Critic, real: Array, fake: Array, key: Key, target: float = 1.0, weight: float = 10.0
) -> Array:
    """weight E (|d sum f / d x^_p| - target)^2 over the pixels p of points x^ between images, a scalar.

    The gradient of the sum of the patches' scores, its norm over the channels of each pixel: in place of
    `gradient_penalty` in the authors' code of Shaham et al. 2019, "SinGAN". Its scale does not depend on the size of
    the images.

    Args:
        patches: images [B, H, W, C] to a score for each patch, [B, h, w].
        real, fake: [B, H, W, C].
    """
    points = interpolate(real, fake, key)
    if points.ndim != 4:
        raise ValueError(f"`real` must be images [B, H, W, C], got shape {points.shape}")
    squared = (at_least_float32(jax.grad(lambda x: patches(x).sum())(points)) ** 2).sum(-1)
    flat = squared == 0
    norms = jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, squared)))
    return norm_penalty(norms.reshape(-1), target, weight)


def zero_centred_penalty(critic: Critic, x: Array, weight: float = 10.0) -> Array:
    """weight / 2 E |grad f(x)|^2, a scalar: R1 at real examples, R2 at generated ones.

    Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", section 4.1.

    Args:
        critic: [B, ...] to logits [B].
    """
    check_number("weight", weight, 0)
    return weight / 2 * squared_slopes(critic, x).mean()


def consistency_penalty(outputs: Array, changed: Array, weight: float = 10.0) -> Array:
    """weight E |f(x) - f(T(x))|^2, a scalar, for augmentations T.

    Zhang et al. 2020, "Consistency Regularization for Generative Adversarial Networks".

    Args:
        outputs, changed: [B, ...], the critic's outputs on examples and on the augmented examples.
    """
    check_number("weight", weight, 0)
    outputs, changed = as_arrays("B ...", outputs=outputs, changed=changed)
    return weight * squared_distance(outputs, changed)


def orthonormality(jacobian: Array) -> Array:
    """E |J^T J - I|_F^2, a scalar, zero if the generator's tangents are orthonormal.

    Qi et al. 2018, "Global versus Localized Generative Adversarial Nets".

    Args:
        jacobian: [B, D, N], derivatives of the D values of a sample with respect to its N latent coordinates.
    """
    (jacobian,) = as_arrays("B D N", jacobian=jacobian)
    gram = jnp.einsum("bdn,bdm->bnm", jacobian, jacobian, precision="highest")
    return ((gram - jnp.eye(gram.shape[-1], dtype=gram.dtype)) ** 2).sum((1, 2)).mean()


def proximal(new: Array, old: Array, weight: float = 1.0) -> Array:
    """weight E_z |G(z) - G_old(z)|^2, a scalar, summed over each event: keeps a generator near an earlier copy.

    No gradient flows into the earlier copy. The gradient is zero if both are equal, so a copy that is renewed at every
    step of the generator has no effect.

    Args:
        new, old: [B, ...], samples of both from the same latents.
    """
    check_number("weight", weight, 0)
    new, old = as_arrays("B ...", new=new, old=old)
    return weight * squared_distance(new, jax.lax.stop_gradient(old))
