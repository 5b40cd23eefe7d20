"""The oracle's LSTM against NumPy, with weights in the authors' layout."""

import jax
import numpy as np
import pytest

from jaxgen.models.sequences import lstm_oracle, random_oracle

RNG = np.random.default_rng(0)
WORDS, WIDTH, UNITS = 7, 3, 4


def arrays():
    named = {"embedding": (WORDS, WIDTH), "logits_w": (UNITS, WORDS), "logits_b": (WORDS,)}
    for gate in ("input", "forget", "output", "cell"):
        named |= {f"{gate}_x": (WIDTH, UNITS), f"{gate}_h": (UNITS, UNITS), f"{gate}_b": (UNITS,)}
    return {name: RNG.normal(size=shape).astype(np.float32) for name, shape in named.items()}


def by_numpy(a, tokens):
    """As in the authors' code: token 0 before the first, states of zeros."""
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    h, c, previous, log_probs = np.zeros(UNITS), np.zeros(UNITS), 0, []
    for token in tokens:
        x = a["embedding"][previous]
        gate = {g: x @ a[f"{g}_x"] + h @ a[f"{g}_h"] + a[f"{g}_b"] for g in ("input", "forget", "output", "cell")}
        c = sigmoid(gate["forget"]) * c + sigmoid(gate["input"]) * np.tanh(gate["cell"])
        h = sigmoid(gate["output"]) * np.tanh(c)
        logits = h @ a["logits_w"] + a["logits_b"]
        log_probs.append(logits[token] - np.log(np.exp(logits).sum()))
        previous = token
    return log_probs


def test_likelihoods_are_those_of_the_authors_lstm():
    a = arrays()
    oracle = lstm_oracle({**a, "x_train": np.zeros((2, 5), np.int16)}, length=5)
    tokens = RNG.integers(0, WORDS, (6, 5)).astype(np.int16)
    np.testing.assert_allclose(oracle.log_probs(tokens), [by_numpy(a, row) for row in tokens], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("broken", ["forget_b", "logits_w"])
def test_incomplete_arrays_are_refused(broken):
    a = arrays()
    with pytest.raises(ValueError, match=f"must have those of an LSTM, got no \\['{broken}'\\]"):
        lstm_oracle({name: array for name, array in a.items() if name != broken})
    with pytest.raises(ValueError, match="must have the shapes of an LSTM"):
        lstm_oracle({**a, broken: a[broken][:2]})


@pytest.mark.slow
def test_samples_have_the_likelihood_that_they_are_given():
    oracle = random_oracle(0, 5, 3, 4, 1.5)
    samples = np.asarray(jax.jit(oracle.sample, static_argnums=1)(jax.random.key(1), 20_000))
    everything = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    p = np.exp(np.asarray(oracle.log_probs(everything), np.float64).sum(1))
    assert p.sum() == pytest.approx(1, abs=1e-5)
    frequencies = np.bincount(samples @ [25, 5, 1], minlength=125) / 20_000
    assert np.abs(frequencies - p).max() < 0.015 and np.abs(frequencies - p).sum() < 0.08
    # the same seed is the same oracle
    np.testing.assert_array_equal(oracle.log_probs(samples[:3]), random_oracle(0, 5, 3, 4, 1.5).log_probs(samples[:3]))
