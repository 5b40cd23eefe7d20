"""The pool of earlier pictures against a plain implementation with the same random numbers."""

import jax
import numpy as np
import pytest

from jaxgen.models.translation import ImagePool


def plain(pool, size, pictures, swaps, indices):
    """The rule of the authors' code, a picture at a time."""
    returned = []
    for picture, swap, index in zip(pictures, swaps, indices, strict=True):
        if len(pool) < size:
            pool.append(picture)
            returned.append(picture)
        elif swap:
            returned.append(pool[index])
            pool[index] = picture
        else:
            returned.append(picture)
    return np.stack(returned)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_pictures_are_replayed_as_one_at_a_time(batch):
    pool, expected_pool, rng = ImagePool(5), [], np.random.default_rng(0)
    state, replay = pool.init(np.zeros((2, 1), np.float32)), jax.jit(pool.replay)
    exchanged = 0
    for step in range(24 // batch):
        key, new = jax.random.key(step), rng.normal(size=(batch, 2, 1)).astype(np.float32)
        returned, state = replay(state, new, key)
        expected = plain(expected_pool, 5, new, *map(np.asarray, pool.draws(key, batch)))
        np.testing.assert_array_equal(returned, expected)
        exchanged += (expected != new).any((1, 2)).sum()
        assert state["filled"] == len(expected_pool)
        np.testing.assert_array_equal(state["pictures"][: len(expected_pool)], np.stack(expected_pool))
    assert 4 < exchanged < 16


def test_half_are_exchanged_for_pictures_from_the_whole_pool():
    swaps, indices = map(np.asarray, ImagePool(4).draws(jax.random.key(0), 4000))
    assert abs(swaps.mean() - 0.5) < 0.04
    np.testing.assert_allclose(np.bincount(indices) / 4000, 0.25, atol=0.03)
    assert abs(np.corrcoef(swaps, indices)[0, 1]) < 0.05


def test_without_a_pool_new_pictures_are_seen():
    pool, new = ImagePool(0), np.ones((3, 2), np.float32)
    state = pool.init(new[0])
    returned, after = pool.replay(state, new, jax.random.key(0))
    assert returned is new and after is state
    with pytest.raises(ValueError, match="`size` must be integers of at least 0, got -1"):
        ImagePool(-1)
