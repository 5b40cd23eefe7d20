import numpy as np
import pytest
import scipy.linalg

from jaxgen.metrics import pixel_diversity, position_frechet_distances

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=(5, 6, 3)), RNG.normal(0.3, 1.5, (2, 4, 7, 3))


def test_positions_are_the_examples_of_the_distance():
    def moments(x):
        x = x.reshape(-1, 3)
        return x.mean(0), np.cov(x.T)

    (m, s), expected = moments(REAL), []
    for fake in FAKE:
        other, t = moments(fake)
        expected.append(((m - other) ** 2).sum() + np.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real))
    np.testing.assert_allclose(position_frechet_distances(REAL, FAKE), expected, rtol=1e-4)
    # wherever the same features are, the distance is zero
    np.testing.assert_allclose(position_frechet_distances(REAL, REAL[None, ::-1, ::-1]), 0, atol=1e-6)
    with pytest.raises(ValueError, match="`fake` must have shape"):
        position_frechet_distances(REAL, FAKE[0])
    with pytest.raises(ValueError, match="at least 2 examples"):
        position_frechet_distances(REAL[:1, :1], FAKE)


def test_diversity_is_over_samples_not_over_pixels():
    picture = RNG.normal(0, 2, (40, 50, 3))
    samples = RNG.normal(0, 1, (300, 40, 50, 3)) + picture
    assert pixel_diversity(samples, picture) == pytest.approx(0.5, rel=0.02)
    assert pixel_diversity(np.stack([picture] * 3), picture) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="at least 2 examples"):
        pixel_diversity(picture[None], picture)
