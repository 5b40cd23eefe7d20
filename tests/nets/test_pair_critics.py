"""Critics of pairs: convolutions, padding, and whether both sides are compared."""

import jax
import numpy as np
import pytest
from jax import lax

from jaxgen.nets import PairCritic, TokenConvTower, TokenRNNTower

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, 7, (4, 6)).astype(np.int32)
SOURCES = RNG.integers(1, 5, (4, 5)).astype(np.int32)
TARGET, SOURCE = TokenConvTower(7, ((1, 3), (3, 2)), 4), TokenConvTower(5, ((2, 4),), 4)


def drawn(network, *inputs):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def test_a_tower_is_convolutions_and_their_greatest_values():
    variables = drawn(TARGET, TOKENS)
    params = variables["params"]
    x, expected = params["embed"]["embedding"][TOKENS], []
    for width, number in TARGET.filters:
        kernel = params[f"width{width}"]["kernel"].reshape(width, 4, number)
        y = lax.conv_general_dilated(x, kernel, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))
        expected.append(np.maximum(y + params[f"width{width}"]["bias"], 0).max(1))
    np.testing.assert_allclose(TARGET.apply(variables, TOKENS), np.concatenate(expected, -1), rtol=1e-5, atol=1e-5)
    # shorter than the greatest width
    assert jax.jit(TARGET.apply)(variables, TOKENS[:, :2]).shape == (4, 5)


def test_padding_has_no_effect_on_recurrent_features():
    tower = TokenRNNTower(7, width=3, embedding_width=4)
    variables = drawn(tower, TOKENS)
    features = tower.apply(variables, np.pad(TOKENS, ((0, 0), (0, 1))))
    np.testing.assert_allclose(features, tower.apply(variables, np.pad(TOKENS, ((0, 0), (0, 5)))), rtol=1e-5, atol=1e-6)
    assert features.shape == (4, 6)


@pytest.mark.parametrize("mixing", ["joint", "additive"])
def test_only_a_joint_critic_sees_which_sides_belong_together(mixing):
    critic = PairCritic(TARGET, SOURCE, mixing, width=3)
    variables = drawn(critic, TOKENS, SOURCES)
    right, wrong = (jax.jit(critic.apply)(variables, TOKENS, sources) for sources in (SOURCES, np.roll(SOURCES, 1, 0)))
    assert right.shape == (4,) and np.abs(right - wrong).max() > 0.1
    together = np.allclose(right.sum(), wrong.sum(), rtol=1e-4)
    assert together == (mixing == "additive")


def test_without_a_source_it_has_no_effect():
    critic = PairCritic(TARGET, None)
    variables = drawn(critic, TOKENS, SOURCES)
    one, other = (jax.jit(critic.apply)(variables, TOKENS, sources) for sources in (SOURCES, SOURCES[::-1]))
    np.testing.assert_array_equal(one, other)


def test_dropout_needs_its_stream():
    critic = PairCritic(TARGET, SOURCE, dropout=0.5)
    variables = drawn(critic, TOKENS, SOURCES)
    one, other, still = (
        critic.apply(variables, TOKENS, SOURCES, rngs=rngs)
        for rngs in ({"dropout": jax.random.key(0)}, {"dropout": jax.random.key(1)}, {})
    )
    assert np.abs(one - other).max() > 1e-2
    np.testing.assert_array_equal(still, jax.jit(critic.apply)(variables, TOKENS, SOURCES))


def test_wrong_fields_and_tokens_are_refused():
    with pytest.raises(ValueError, match="`filters` must be integers of at least 1"):
        jax.eval_shape(TokenConvTower(7, ((0, 3),)).init, jax.random.key(0), TOKENS)
    with pytest.raises(TypeError, match="`tokens` must be integers"):
        jax.eval_shape(TARGET.init, jax.random.key(0), TOKENS.astype(np.float32))
