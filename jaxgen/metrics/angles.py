"""Agreement of two sets of angles."""

from __future__ import annotations

import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_finite
from jaxgen.contracts import Array


def angle_agreement(angles: Array, others: Array) -> dict[str, Array]:
    """How well one set of angles determines another, up to a constant offset and the sense of rotation.

    With residuals d = others - s * angles for the sign s = 1 or -1 that fits better: `angle_correlation` is the mean
    resultant length |E exp(i d)|, 1 for equal angles; over N independent uniform angles it is about sqrt(pi / (4 N)).
    `angle_error` is the root mean square of d in degrees after the best offset, arg E exp(i d); 103.9 if d is uniform.

    Args:
        angles, others: [N], in degrees.
    """
    angles, others = as_arrays("N", angles=angles, others=others)
    check_finite(angles=angles, others=others)
    residuals = jnp.deg2rad(jnp.stack([others - angles, others + angles]))
    mean = jnp.stack([jnp.cos(residuals).mean(1), jnp.sin(residuals).mean(1)])
    length = jnp.linalg.norm(mean, axis=0)
    sign = length.argmax()
    centred = residuals[sign] - jnp.arctan2(mean[1, sign], mean[0, sign])
    wrapped = jnp.arctan2(jnp.sin(centred), jnp.cos(centred))
    return {"angle_correlation": length[sign], "angle_error": jnp.rad2deg(jnp.sqrt((wrapped**2).mean()))}
