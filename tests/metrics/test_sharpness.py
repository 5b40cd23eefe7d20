import numpy as np
import pytest
from scipy import ndimage

from jaxgen.metrics import laplacian_energy

KERNEL = np.float64([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])


def test_the_energy_is_that_of_the_laplacian_within_the_border():
    x = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 2)).astype(np.uint8)
    filtered = ndimage.correlate(x.astype(np.float64), KERNEL[None, :, :, None])[:, 1:-1, 1:-1]
    np.testing.assert_allclose(laplacian_energy(x), (filtered**2).mean((1, 2, 3)), rtol=1e-5)


def test_blur_lowers_it_and_slopes_have_none():
    noise = np.random.default_rng(1).normal(size=(2, 16, 16, 1))
    blurred = ndimage.gaussian_filter(noise, (0, 1, 1, 0))
    assert (np.asarray(laplacian_energy(blurred)) < 0.1 * np.asarray(laplacian_energy(noise))).all()
    slope = np.arange(16.0)[None, :, None, None] + 3 * np.arange(16.0)[None, None, :, None]
    np.testing.assert_allclose(laplacian_energy(slope), 0, atol=1e-6)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="`x` must be images of at least 3 pixels a side"):
        laplacian_energy(np.zeros((1, 2, 5, 1)))
    with pytest.raises(ValueError, match="`x` must be finite"):
        laplacian_energy(np.full((1, 3, 3, 1), np.nan))
