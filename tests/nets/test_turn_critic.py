"""The critic of dialogues: turns read one by one, prefixes, contexts that are shared."""

import jax
import numpy as np
import pytest

from jaxgen.nets import TurnCritic
from jaxgen.nets.turn_critic import ends_of_turns

RNG = np.random.default_rng(0)
SEPARATOR = 2
TOKENS = RNG.integers(3, 7, (6, 4)).astype(np.int32)
CONTEXT = np.array([[3, 4, 2, 5, 0, 0], [6, 2, 3, 2, 0, 0], [4, 4, 3, 5, 6, 0]], np.int32)
CRITIC = TurnCritic(7, 3, 2, separators=(SEPARATOR,))


def drawn(network, *inputs):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def lstm(cell, gates, state):
    """One step, written out: the gates are input, forget, output and the new value."""
    c, h = state
    i, f, o, new = np.split(gates + h @ cell["recurrent"]["kernel"], 4)
    c = 1 / (1 + np.exp(-f)) * c + 1 / (1 + np.exp(-i)) * np.tanh(new)
    return c, 1 / (1 + np.exp(-o)) * np.tanh(c)


def read(params, words):
    """The last state of a turn."""
    state = np.zeros(3), np.zeros(3)
    for word in words:
        x = params["embed"]["embedding"][word]
        gates = x @ params["word_gates"]["kernel"] + params["word_gates"]["bias"]
        state = lstm(params["cells"]["word_cell"], gates, state)
    return state[1]


def by_hand(params, reply, turns):
    state = np.zeros(3), np.zeros(3)
    for turn in (*turns, reply):
        gates = params["cells"]["turn_gates"]
        state = lstm(params["cells"]["turn_cell"], read(params, turn) @ gates["kernel"] + gates["bias"], state)
    return state[1] @ params["last"]["kernel"][:, 0] + params["last"]["bias"][0]


def test_turns_are_read_from_zero_and_prefixes_are_turns():
    variables = drawn(CRITIC, TOKENS, CONTEXT)
    logits = jax.jit(CRITIC.apply)(variables, TOKENS, CONTEXT)
    assert logits.shape == (6, 4)
    turns = [[[3, 4, 2], [5]], [[6, 2], [3, 2]], [[4, 4, 3, 5, 6]]]
    for i in range(6):
        for t in range(4):
            expected = by_hand(variables["params"], TOKENS[i, : t + 1], turns[i % 3])
            np.testing.assert_allclose(logits[i, t], expected, rtol=1e-4, atol=1e-5)


def test_a_turn_ends_at_separators_and_at_the_last_token():
    expected = [[0, 0, 1, 1, 0, 0], [0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0]]
    np.testing.assert_array_equal(ends_of_turns(CONTEXT, (SEPARATOR,), 0), np.array(expected, bool))
    np.testing.assert_array_equal(ends_of_turns(CONTEXT[2:], (), None), [[0, 0, 0, 0, 0, 1]])


def test_padding_of_contexts_has_no_effect_and_contexts_have_one():
    critic = TurnCritic(7, 3, cell="gru", separators=(SEPARATOR,))
    variables = drawn(critic, TOKENS, CONTEXT)
    logits = critic.apply(variables, TOKENS, CONTEXT)
    longer = critic.apply(variables, TOKENS, np.pad(CONTEXT, ((0, 0), (0, 2))))
    np.testing.assert_allclose(logits, longer, rtol=1e-5, atol=1e-6)
    assert np.abs(logits - critic.apply(variables, TOKENS, np.roll(CONTEXT, 1, 0))).min() > 1e-4
    alone = TurnCritic(7, 3, cell="gru", with_context=False)
    variables = drawn(alone, TOKENS, CONTEXT)
    np.testing.assert_array_equal(
        alone.apply(variables, TOKENS, CONTEXT), alone.apply(variables, TOKENS, CONTEXT[::-1])
    )


def test_replies_must_be_of_the_contexts():
    with pytest.raises(ValueError, match="multiple of the 3 contexts"):
        CRITIC.init(jax.random.key(0), TOKENS[:4], CONTEXT)
