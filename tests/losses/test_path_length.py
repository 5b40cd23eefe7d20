"""Path lengths against explicit Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.losses import next_path_length, path_length_penalty, path_lengths

RNG = np.random.default_rng(0)


def test_lengths_are_those_of_the_jacobian():
    mixing = RNG.normal(size=(2, 3, 4 * 5 * 2)).astype(np.float32)

    def synthesize(styles):
        return jnp.tanh(jnp.einsum("bkw,kwd->bd", styles, mixing)).reshape(-1, 4, 5, 2)

    styles, y = (RNG.normal(size=shape).astype(np.float32) for shape in ((6, 2, 3), (6, 4, 5, 2)))
    jacobian = jax.vmap(jax.jacobian(lambda w: synthesize(w[None])[0]))(styles)
    product = np.einsum("bhvckw,bhvc->bkw", jacobian, y) / np.sqrt(20)
    # norms over a style, the mean of squares over layers
    expected = np.sqrt((product**2).sum(-1).mean(-1))
    np.testing.assert_allclose(path_lengths(synthesize, styles, y), expected, rtol=1e-4)


def test_orthonormal_maps_have_no_penalty_and_others_do():
    """At directions of one norm, as they nearly are in many dimensions."""
    rotation = np.linalg.qr(RNG.normal(size=(18, 18)))[0].astype(np.float32)
    y = RNG.normal(size=(50, 3, 3, 2)).astype(np.float32)
    y *= np.sqrt(18 / (y**2).sum((1, 2, 3), keepdims=True))
    styles = np.zeros((50, 1, 18), np.float32)

    def penalty(matrix):
        lengths = path_lengths(lambda w: (w[:, 0] @ matrix).reshape(-1, 3, 3, 2), styles, y)
        return float(path_length_penalty(lengths, lengths.mean(), 2.0))

    assert penalty(rotation) == pytest.approx(0, abs=1e-10)
    assert penalty(3 * rotation) == pytest.approx(0, abs=1e-10)
    assert penalty(rotation * np.linspace(0.1, 2, 18)[:, None].astype(np.float32)) > 0.01
    # random directions vary by 1 / (2 n) in the square of their norm
    lengths = np.sqrt((RNG.normal(size=(1000, 18)) ** 2).sum(1) / 9)
    assert float(path_length_penalty(lengths, lengths.mean())) < 2 * 2 / 9


def test_the_target_is_a_constant_moving_average():
    lengths = jnp.array([1.0, 3.0])
    target = next_path_length(jnp.float32(5.0), lengths, 0.9)
    assert float(target) == pytest.approx(0.9 * 5 + 0.1 * 2)

    def value(lengths):
        return path_length_penalty(lengths, next_path_length(5.0, lengths, 0.9), 3.0)

    assert float(value(lengths)) == pytest.approx(3 * ((1 - 4.7) ** 2 + (3 - 4.7) ** 2) / 2)
    np.testing.assert_allclose(jax.grad(value)(lengths), 3 * (lengths - 4.7), rtol=1e-5)


def test_gradients_at_zero_are_finite():
    y, styles = np.ones((2, 2, 2, 1), np.float32), np.ones((2, 1, 4), np.float32)

    def value(a):
        return path_length_penalty(path_lengths(lambda w: a * w.reshape(-1, 2, 2, 1), styles, y), 1.0)

    assert np.isfinite(jax.grad(value)(0.0))
    with pytest.raises(ValueError, match=r"`directions` must have the shape \(2, 2, 2, 1\)"):
        path_lengths(lambda w: w.reshape(-1, 2, 2, 1), styles, np.ones((2, 4, 1, 1), np.float32))
