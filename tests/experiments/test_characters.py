"""n-grams of texts, their baselines, and the study of characters, from runs that are finished."""

import json
import math

import numpy as np
import pytest

from experiments.sequences.n_grams import baseline_metrics, markov_samples, n_gram_metrics, shuffle_symbols
from experiments.sequences.wgan_gp_text import WGANGPTextConfig, build
from experiments.studies import characters, harness
from experiments.studies.characters import Characters
from jaxgen.data import ArraySource, Splits
from jaxgen.models.gans import Annealing

RNG = np.random.default_rng(0)
TRANSITIONS = RNG.dirichlet(np.full(5, 0.3), 5)


def chain(n, length=12):
    x = RNG.integers(0, 5, (n, length))
    for t in range(1, length):
        x[:, t] = (RNG.random((n, 1)) > TRANSITIONS[x[:, t - 1]].cumsum(-1)[:, :-1]).sum(-1)
    return x.astype(np.uint8)


def splits():
    return Splits(*(ArraySource({"x": chain(n)}, levels=5, name="chain") for n in (2000, 300, 300)))


def test_markov_chains_have_the_transitions_of_the_data():
    train = chain(4000)
    samples = markov_samples(np.random.default_rng(1), train, 4000, 1)
    assert samples.shape == train.shape and samples.dtype == np.uint8
    counts = np.zeros((5, 5))
    np.add.at(counts, (samples[:, :-1].ravel(), samples[:, 1:].ravel()), 1)
    np.testing.assert_allclose(counts / counts.sum(1, keepdims=True), TRANSITIONS, atol=0.03)
    unigram = markov_samples(np.random.default_rng(1), train, 4000, 0)
    shares = [np.bincount(x.ravel(), minlength=5) / x.size for x in (unigram, train)]
    np.testing.assert_allclose(*shares, atol=0.01)
    # of order 3 every sample is made of 4-grams of the data
    long = markov_samples(np.random.default_rng(1), train[:20], 50, 3)
    known = {tuple(row[i : i + 4]) for row in train[:20].tolist() for i in range(9)}
    found = [tuple(row[i : i + 4]) in known for row in long.tolist() for i in range(9)]
    assert np.mean(found) > 0.95


def test_baselines_are_ordered_as_the_data_are():
    metrics = baseline_metrics(splits(), 300)
    assert list(metrics) == ["held out", "unigram", "Markov, order 1", "Markov, order 2", "Markov, order 3"]
    # a chain of order 1 is known from one on; its symbols alone say little
    assert metrics["unigram"]["js2_bits"] > 20 * metrics["Markov, order 1"]["js2_bits"]
    assert metrics["unigram"]["js1_bits"] < 0.01
    for values in metrics.values():
        assert values["js3_nats"] == pytest.approx(values["js3_bits"] * math.log(2))


def test_shuffled_symbols_keep_their_frequencies_alone():
    data = splits()
    shuffled = shuffle_symbols(data)
    for part, other in zip(data, shuffled, strict=True):
        np.testing.assert_array_equal(np.sort(part.arrays["x"], 1), np.sort(other.arrays["x"], 1))
        assert other.levels == 5 and (part.arrays["x"] != other.arrays["x"]).any()
    train = data.train.arrays["x"]
    moved, kept = (n_gram_metrics(train, x.test.arrays["x"]) for x in (shuffled, data))
    assert moved["js1_bits"] < 0.01 and moved["js2_bits"] > 10 * kept["js2_bits"]


def test_the_control_trains_on_shuffled_texts_and_is_measured_on_texts():
    data = splits()
    config = WGANGPTextConfig(width=4, blocks=1, samples=20, shuffled=True, relaxation="gumbel", final_temperature=0.1)
    made = build(config, data)
    assert (made.data.train.arrays["x"] != data.train.arrays["x"]).any()
    (annealing,) = (term for term in made.model.terms if isinstance(term, Annealing))
    assert annealing == Annealing(0.1, 200_000) and made.model.critic_steps == 10

    class Copies:
        def sample(self, key, n):
            return data.train.arrays["x"][:n]

    metrics = made.final_metrics(Copies())
    assert metrics["copied_8_grams"] == 1 and made.baselines["held out, copied_8_grams"] < 1
    assert metrics == n_gram_metrics(data.train.arrays["x"], data.train.arrays["x"][:20])
    with pytest.raises(ValueError, match="`data` must be sequences of symbols, got 'chains'"):
        build(WGANGPTextConfig(), Splits(*(ArraySource({"x": np.zeros((4, 8, 8, 1), np.float32)}, name="x"),) * 3))


def test_systems_differ_in_one_argument(tmp_path, monkeypatch):
    called = []

    def run(module, out, *arguments):
        called.append((module, out.name, [word for given in arguments for word in given]))
        out.mkdir(parents=True)
        test = {name: 0.125 * i for i, name in enumerate(characters.COLUMNS)}
        result = {"test": test, "config": {"steps": 50, "critic_steps": 5}, "training_seconds": 120}
        if out.name == "WGAN-GP":
            result["standard_errors"] = {"js4_bits": 0.25}
        (out / "result.json").write_text(json.dumps(result))

    monkeypatch.setattr(harness.commands, "run", run)
    monkeypatch.setattr(characters, "source", lambda data, window: splits())
    config = Characters(runs=tmp_path, steps=50, samples=100)
    text = characters.study(config)
    assert [name for _, name, _ in called] == ["WGAN-GP", "Gumbel-softmax", "straight-through", "shuffled_characters"]
    common = called[0][2]
    differences = [tuple(words[len(common) :]) for _, _, words in called]
    assert differences == list(characters.SYSTEMS.values())
    assert common[common.index("--steps") + 1] == "50" and all(words[: len(common)] == common for _, _, words in called)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert cells[2] == ["WGAN-GP", "0.000", "0.125", "0.250", "0.375 ± 0.250", "0.500", "10", "2"]
    assert [line[0] for line in cells[6:]] == ["held out", "unigram", *(f"Markov, order {n}" for n in (1, 2, 3))]
    assert (tmp_path / "chains" / "table.md").read_text() == text + "\n"
    assert characters.study(config) == text and len(called) == 4
