"""The study of boundary-seeking weights, from runs that are finished, and its metrics."""

import json

import jax
import numpy as np
import pytest

from experiments.sequences.boundary_seeking import BoundarySeekingConfig, baselines, build, class_metrics, divergences
from experiments.studies import boundary_seeking, harness
from experiments.studies.boundary_seeking import IMAGES, STRINGS, BoundarySeekingStudy
from jaxgen.data import bits, source

HEADS = {**STRINGS, **IMAGES}


def test_objectives_have_the_same_networks_and_steps(tmp_path, monkeypatch):
    called = []

    def run(module, out, *arguments):
        words = [word for given in arguments for word in given]
        called.append((module, out.name, words))
        out.mkdir(parents=True)
        test = {name: i / 8 for i, name in enumerate(HEADS)} | {"accuracy": 0.625, "confident test examples": 0.875}
        strings = {"baselines": {"kl of others": 0.5}} if "bit_patterns" in words else {"baselines": {}}
        config = {"steps": int(words[words.index("--steps") + 1]), "seeds": 2}
        result = {"test": test, "standard_errors": {"kl": 0.25}, "config": config, "training_seconds": 90, **strings}
        (out / "result.json").write_text(json.dumps(result))

    monkeypatch.setattr(harness.commands, "run", run)
    config = BoundarySeekingStudy(runs=tmp_path / "runs", steps=84, string_steps=21, labelled="labels.npz")
    text = boundary_seeking.study(config)
    judge, *runs = called
    assert judge[:2] == ("gans.feature_extractor", "judge") and "labels.npz" in judge[2]
    assert len(runs) == 8 and {module for module, *_ in runs} == {"sequences.boundary_seeking"}
    objectives = [words.pop(words.index("--objective") + 1) for *_, words in runs]
    assert objectives == 2 * ["weights", "equal", "reinforce", "reinforce_probability"]
    for four in (runs[:4], runs[4:]):
        assert all(words == four[0][2] for *_, words in four)
    assert str(tmp_path / "runs" / "judge") in runs[4][2] and runs[4][2][runs[4][2].index("--steps") + 1] == "84"
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert cells[2] == ["weights of each z", "0.000 ± 0.250", "0.125", "0.2500", "21", "2", "1.5"]
    assert cells[6] == ["others", "0.500", "", "", "", "", ""]
    assert cells[-1] == ["D as reward", *(f"{i / 8:.3f}" for i in range(3, 9)), "84", "2", "1.5"]
    assert "accuracy on test examples is 0.625; it is confident of 0.875 of them" in text
    assert boundary_seeking.study(config) == text and len(called) == 9
    with pytest.raises(ValueError, match="GAN"):
        boundary_seeking.study(BoundarySeekingStudy(runs=tmp_path / "others", only=("GAN",)))


def test_baselines_are_divergences_by_hand():
    strings = bits.all_strings(10)
    p = np.exp(bits.log_prob_of_bit_patterns(strings))
    uniform = np.full(1024, 1 / 1024)
    one = (p[:, None] * strings).sum(0)
    independent = np.prod(np.where(strings, one, 1 - one), 1)

    def kl(a, b):
        return (a * np.log(a / b)).sum()

    found = baselines(np.log(p))
    for name, q in {"uniform strings": uniform, "independent bits": independent}.items():
        assert found[f"kl of {name}"] == pytest.approx(kl(p, q), rel=1e-5)
        middle = (p + q) / 2
        assert found[f"js of {name}"] == pytest.approx((kl(p, middle) + kl(q, middle)) / 2, rel=1e-5)


def test_divergences_are_zero_for_a_generator_that_is_the_data():
    model = build(BoundarySeekingConfig(), source("bit_patterns")).model

    class Exact:
        event_shape = model.event_shape

        @staticmethod
        def log_prob(variables, x):
            return bits.log_prob_of_bit_patterns(x)

    assert all(abs(value) < 1e-5 for value in divergences(Exact, {}).values())
    variables = model.init(jax.random.key(0), source("bit_patterns").train.head(4))
    found = divergences(model, variables)
    q = np.exp(np.asarray(model.log_prob(variables, bits.all_strings(10)), float))
    p = np.exp(bits.log_prob_of_bit_patterns(bits.all_strings(10)))
    assert q.sum() == pytest.approx(1, rel=1e-4)
    assert found["kl"] == pytest.approx((p * np.log(p / q)).sum(), rel=1e-3)
    assert found["reverse_kl"] == pytest.approx((q * np.log(q / p)).sum(), rel=1e-3)


def test_a_classifier_counts_confident_samples_and_the_rarest_class():
    class Judge:
        @staticmethod
        def logits(x):
            return np.log([[0.95, 0.05], [0.85, 0.15], [0.05, 0.95], [0.5, 0.5]])[x[:, 0]]

    samples, test = np.array([[0], [0], [1], [2]]), np.array([[0], [2], [2], [2]])
    found = class_metrics(Judge, test, samples)
    assert found["confident"] == 0.75 and found["confident test examples"] == 1 and found["rarest class"] == 0.25
    assert 0 <= found["nn_accuracy"] <= 1
