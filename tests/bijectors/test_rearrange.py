import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.bijectors import Permute, Repeat, Reshape, Squeeze


def test_permutes_as_told():
    x = jnp.asarray([[10, 11, 12]])
    np.testing.assert_array_equal(Permute((2, 0, 1)).apply({}, x, method="forward"), [[12, 10, 11]])
    np.testing.assert_array_equal(Permute((2, 0, 1)).apply({}, x, method="inverse"), [[11, 12, 10]])
    np.testing.assert_array_equal(Permute("reverse").apply({}, x, method="forward"), [[12, 11, 10]])


def test_random_permutations_are_drawn_from_the_key_and_kept_apart_from_parameters():
    x = jnp.zeros((1, 64))
    first, again, other = (Permute().init(jax.random.key(k), x) for k in (0, 0, 1))
    assert set(first) == {"constants"}
    drawn = first["constants"]["permutation"]
    assert sorted(drawn.tolist()) == list(range(64)) and drawn.tolist() != list(range(64))
    np.testing.assert_array_equal(drawn, again["constants"]["permutation"])
    assert (drawn != other["constants"]["permutation"]).any()


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_repetitions_have_permutations_of_their_own(direction):
    variables = Repeat(Permute(), 4).init(jax.random.key(0), jnp.zeros((1, 64)), method=direction)
    drawn = np.asarray(variables["constants"]["step"]["permutation"])
    assert drawn.shape == (4, 64)
    assert len({tuple(row) for row in drawn}) == 4
    np.testing.assert_array_equal(np.sort(drawn, -1), np.tile(np.arange(64), (4, 1)))


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 1), "sideways"])
def test_refuses_what_is_no_permutation(order):
    with pytest.raises(ValueError, match="permutation of the last axis's 3 indices"):
        Permute(order).apply({}, jnp.zeros((1, 3)))


def test_squeeze_gathers_neighbours():
    x = jnp.arange(16).reshape(1, 4, 4, 1)
    z = Squeeze().apply({}, x, method="forward")
    assert z.shape == (1, 2, 2, 4)
    np.testing.assert_array_equal(z[0, 1, 0], [8, 9, 12, 13])


def test_squeeze_names_sizes_that_do_not_divide():
    with pytest.raises(ValueError, match=r"divisible by 2, got shape \(1, 3, 4, 1\)"):
        Squeeze().apply({}, jnp.zeros((1, 3, 4, 1)))
    with pytest.raises(ValueError, match=r"divisible by 9, got shape \(1, 3, 3, 8\)"):
        Squeeze(3).apply({}, jnp.zeros((1, 3, 3, 8)), method="inverse")


def test_parity_puts_the_even_indices_first():
    z, _ = Permute("parity").apply({}, jnp.arange(5.0)[None])
    np.testing.assert_array_equal(z, [[0, 2, 4, 1, 3]])


def test_reshape_names_both_shapes():
    with pytest.raises(ValueError, match=r"from \(2, 3\) to \(6,\) requires equal sizes .* got \(3, 2\)"):
        Reshape((2, 3), (6,)).apply({}, jnp.zeros((1, 3, 2)))
    with pytest.raises(ValueError, match="requires equal sizes"):
        Reshape((2, 3), (5,)).apply({}, jnp.zeros((1, 2, 3)))
