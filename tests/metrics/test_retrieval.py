import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from jaxgen.metrics import retrieval_accuracy

RNG = np.random.default_rng(0)
TARGETS = RNG.normal(size=(70, 2, 2)).astype(np.float32)


def test_it_is_the_fraction_of_nearest_targets_that_are_their_own():
    translated = TARGETS + 0.5 * RNG.normal(size=TARGETS.shape).astype(np.float32)
    nearest = cdist(translated.reshape(70, -1), TARGETS.reshape(70, -1)).argmin(1)
    right = (nearest == np.arange(70)).mean()
    assert 0.2 < right < 0.9
    assert float(retrieval_accuracy(translated, TARGETS)) == pytest.approx(right)
    assert float(retrieval_accuracy(TARGETS, TARGETS)) == 1
    assert float(retrieval_accuracy(np.roll(TARGETS, 1, 0), TARGETS)) == 0
    # each translation looks for its target: not the other way about
    backward = (cdist(TARGETS.reshape(70, -1), translated.reshape(70, -1)).argmin(1) == np.arange(70)).mean()
    assert right != backward


def test_equally_near_targets_share():
    assert float(retrieval_accuracy(np.zeros((4, 3)), np.ones((4, 3)))) == pytest.approx(1 / 4)


def test_distances_are_of_features():
    translated = TARGETS * jnp.float32([1.0, -1.0])  # right but for the sign of a coordinate
    assert float(retrieval_accuracy(translated, TARGETS)) < 0.5
    assert float(retrieval_accuracy(translated, TARGETS, features=jnp.abs)) == 1


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="`targets` must have shape"):
        retrieval_accuracy(TARGETS, TARGETS[:5])
    with pytest.raises(ValueError, match="`translated` must be finite"):
        retrieval_accuracy(TARGETS * np.nan, TARGETS)
