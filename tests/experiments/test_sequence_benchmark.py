"""The benchmark of sequences: equal networks on both sides, and what its functions return."""

import numpy as np
import pytest

from experiments.benchmarks import compare, sequence_peers, sequences
from experiments.benchmarks.sequence_peers import Row
from jaxgen import training
from jaxgen.contracts import Clock

ROW = Row(words=7, length=5, width=3, batch=4, rollouts=2, critic_steps=2, filters=((2, 3), (3, 2)), embedding=2)
GENERATOR = 3 + 7 * 3 + 4 * (3 * 3 + 3 * 3 + 3) + (3 * 7 + 7)
CRITIC = 7 * 2 + (2 * 2 * 3 + 3) + (3 * 2 * 2 + 2) + 2 * (5 * 5 + 5) + (5 * 2 + 2)


@pytest.mark.slow
def test_ours_is_a_round_with_samples_and_completions(monkeypatch):
    built = sequence_peers.jaxgen(ROW)
    assert built.parameters == GENERATOR + CRITIC
    tokens = ROW.data()
    samples, completions = built.sample(), built.rollouts()
    assert samples.shape == (4, 5) and completions.shape == (2, 4, 4, 5)
    for t in range(1, 5):
        np.testing.assert_array_equal(completions[:, t - 1, :, :t], np.broadcast_to(tokens[:, :t], (2, 4, t)))
    assert np.isfinite(built.train())
    losses = [float(built.mle()) for _ in range(40)]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_the_policy_moves_in_the_first_step_of_a_round(monkeypatch):
    games = []
    monkeypatch.setattr(training, "make_train_step", lambda plays, ema: games.append(plays))
    monkeypatch.setattr(training, "init_state", lambda *arguments: {})
    sequence_peers.jaxgen(ROW)
    game = next(game for game in games if "policy" in game)
    assert game["critic"].when is None
    assert [bool(game["policy"].when(Clock(phase_step=i))) for i in range(4)] == [True, False, True, False]


def test_the_peer_has_the_same_networks_and_completions():
    pytest.importorskip("torch")
    built = sequence_peers.torch(ROW)
    # PyTorch's LSTM has two biases
    assert built.parameters == GENERATOR + CRITIC + 4 * 3
    tokens, completions = ROW.data(), built.rollouts().numpy()
    assert built.sample().shape == (4, 5) and completions.shape == (2, 4, 4, 5)
    for t in range(1, 5):
        np.testing.assert_array_equal(completions[:, t - 1, :, :t], np.broadcast_to(tokens[:, :t], (2, 4, t)))
    assert np.isfinite(built.train()) and built.mle() > built.mle()


def test_rates_are_tokens_per_second():
    assert ROW.tokens == {"sample": 20, "rollouts": 4 * 2 * (4 + 3 + 2 + 1)}
    measures = {"sample processor": {"jaxgen": [0.1, 0.2, 0.3]}, "rollouts processor": {"torch": [8.0]}}
    note = sequences.with_rates({"measures": measures}, ROW)["note"]
    assert "sample: jaxgen 100" in note and "rollouts: torch 10" in note
    with pytest.raises(ValueError, match=r"`rows` must be from .*, got \['gan'\]"):
        sequences.Sequences(rows=("gan",)).check()
    assert {"mle", "rollouts"} <= set(compare.MEASURES)
