import jax
import numpy as np
import pytest
from scipy import ndimage

from jaxgen.nets import BlurredEdges

RNG = np.random.default_rng(0)


def test_edges_are_blurred_and_the_rest_is_not():
    image = np.full((1, 20, 16, 2), -0.5, np.float32)
    image[0, 6:, 8:] = 0.7
    blurred = np.asarray(jax.jit(BlurredEdges())(image))
    everywhere = ndimage.gaussian_filter(image, (0, 1, 1, 0), mode="nearest", truncate=4)
    slopes = [ndimage.sobel(image.mean(-1), axis, mode="nearest") / 8 for axis in (1, 2)]
    near = ndimage.maximum_filter(np.hypot(*slopes) > 0.2, (1, 3, 3))[..., None]
    assert 0.1 < near.mean() < 0.6
    np.testing.assert_allclose(blurred, np.where(near, everywhere, image), atol=1e-5)
    # the edge is less steep, and what is away from it is as it was
    assert np.abs(np.diff(blurred, axis=2)).max() < 0.6 * np.abs(np.diff(image, axis=2)).max()
    np.testing.assert_array_equal(blurred[0, :3], image[0, :3])


def test_threshold_reach_and_width_are_as_given():
    image = RNG.normal(size=(2, 9, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(BlurredEdges(threshold=100.0)(image), image)
    whole = BlurredEdges(threshold=0.0, reach=2, std=0.7)(image)
    expected = ndimage.gaussian_filter(image, (0, 0.7, 0.7, 0), mode="nearest", truncate=3 / 0.7)
    np.testing.assert_allclose(whole, expected, atol=1e-5)
    narrow, wide = (np.asarray(BlurredEdges(threshold=1.0, reach=reach)(image)) != image for reach in (0, 3))
    assert narrow.mean() < wide.mean()


def test_other_than_images_are_refused():
    with pytest.raises(ValueError, match=r"`x` must be images \[B, H, W, C\], got shape \(3, 4\)"):
        BlurredEdges()(np.zeros((3, 4), np.float32))
    for wrong in ({"threshold": -1.0}, {"reach": -1}, {"std": 0.0}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
            BlurredEdges(**wrong)
