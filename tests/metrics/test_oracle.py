"""Divergences of sequences against sums over an enumerable distribution, and against distributions that cheat."""

import itertools

import numpy as np
import pytest

from jaxgen.metrics import oracle_metrics

RNG = np.random.default_rng(0)
SEQUENCES = np.array(list(itertools.product(range(3), repeat=4)))
P, G = RNG.dirichlet(np.ones(81), 2)


def compared(g, n=200_000):
    own, data = (RNG.choice(81, n, p=p) for p in (g, P))
    with np.errstate(divide="ignore"):
        log_p, log_g = np.log(P), np.log(g)
    return oracle_metrics(SEQUENCES[own], log_p[own], log_g[own], log_p[data], log_g[data])


def test_metrics_are_those_of_the_sums_over_all_sequences():
    metrics = compared(G)
    expected = {
        "nll_oracle": -(G * np.log(P)).sum(), "entropy": -(G * np.log(G)).sum(), "nll": -(P * np.log(G)).sum(),
        "reverse_kl": (G * np.log(G / P)).sum(), "forward_kl": (P * np.log(P / G)).sum(),
    }  # fmt: skip
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value / 4, abs=0.005), name
    assert metrics["distinct"] == 81 / 200_000
    variance = G @ np.log(P) ** 2 - (G @ np.log(P)) ** 2
    assert metrics["nll_oracle_error"] == pytest.approx(variance**0.5 / 4 / 200_000**0.5, rel=0.02)


def test_a_repeated_sequence_has_a_low_oracle_likelihood_and_is_unmasked_by_the_others():
    one = np.where(np.arange(81) == P.argmax(), 1 - 80e-9, 1e-9)
    honest, cheat = compared(P, 2000), compared(one, 2000)
    assert cheat["nll_oracle"] < honest["nll_oracle"] - 0.2
    assert cheat["entropy"] < 0.01 and cheat["forward_kl"] > 2 and cheat["distinct"] == 1 / 2000
    assert abs(honest["forward_kl"]) < 1e-9 and abs(honest["reverse_kl"]) < 1e-9


def test_log_probabilities_of_tokens_are_summed():
    tokens = RNG.integers(0, 3, (5, 4))
    per_token = -RNG.exponential(size=(4, 5, 4))
    whole = oracle_metrics(tokens, *per_token.sum(-1))
    assert oracle_metrics(tokens, *per_token) == pytest.approx(whole)


def test_malformed_arrays_are_refused():
    with pytest.raises(ValueError, match="`oracle` must have shape"):
        oracle_metrics(np.zeros((3, 4), int), np.zeros(2), np.zeros(3), np.zeros(2), np.zeros(2))
