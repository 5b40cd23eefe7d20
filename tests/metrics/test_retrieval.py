import jax
import numpy as np
import pytest

from jaxgen.metrics import retrieval_accuracy


def test_each_looks_for_its_own_target():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(70, 3, 2))
    x = targets + 0.9 * rng.normal(size=targets.shape)
    distances = np.linalg.norm((x[:, None] - targets[None]).reshape(70, 70, -1), axis=-1)
    expected = (distances.argmin(1) == np.arange(70)).mean()
    assert 0.1 < expected < 0.9
    assert jax.jit(retrieval_accuracy)(x, targets) == pytest.approx(expected)
    assert retrieval_accuracy(targets, targets) == 1 and retrieval_accuracy(x, targets[::-1]) < 0.2


def test_equally_near_targets_share_and_a_constant_finds_no_more_than_chance():
    assert retrieval_accuracy(np.zeros((4, 2)), np.float32([[1, 0], [0, 1], [3, 0], [0, -1]])) == pytest.approx(0.25)
    assert retrieval_accuracy(np.zeros((5, 2)), np.ones((5, 2))) == pytest.approx(0.2)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="`targets` must have shape"):
        retrieval_accuracy(np.zeros((4, 2)), np.zeros((5, 2)))
