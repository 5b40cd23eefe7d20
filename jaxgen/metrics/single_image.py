"""Metrics of samples of a single picture."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxgen.arguments import as_arrays, check_finite, check_length
from jaxgen.contracts import Array
from jaxgen.metrics.distances import frechet_distance


def position_frechet_distances(real: Array, fake: Array) -> np.ndarray:
    """`frechet_distance` of a picture to each sample, in which the positions of features are the examples: [N].

    The single image FID of Shaham et al. 2019, "SinGAN", section 3.3, for any features: the paper's are those of
    Inception before its second pooling, and values for other features or layers are on another scale. Insensitive to
    where things are, and to fine noise.

    Args:
        real: features of the picture, [H, W, D].
        fake: features of N samples of any size, [N, h, w, D].

    Raises:
        ValueError: other shapes; fewer than two positions; NaN or infinite values.
    """
    real, fake = as_arrays("H W D", "N h w D", real=real, fake=fake)
    check_finite(real=real, fake=fake)
    features = real.shape[-1]
    real = real.reshape(-1, features)
    check_length(2, real=real, fake=fake[0].reshape(-1, features))
    return np.array([frechet_distance(real, one.reshape(-1, features)) for one in np.asarray(fake)])


def pixel_diversity(samples: Array, picture: Array) -> Array:
    """The standard deviation of a pixel over samples, on average over pixels, over that of the picture's values.

    Zero if all samples are equal. Shaham et al. 2019, "SinGAN", section 3.2.

    Args:
        samples: [N, H, W, C], N >= 2.
        picture: [H, W, C], in the same units, not constant.

    Raises:
        ValueError: other shapes, fewer than two samples, NaN or infinite values.
    """
    samples, picture = as_arrays("N H W C", "H W C", samples=samples, picture=picture)
    check_finite(samples=samples, picture=picture)
    check_length(2, samples=samples)
    return jnp.std(samples, axis=0).mean() / jnp.std(picture)
