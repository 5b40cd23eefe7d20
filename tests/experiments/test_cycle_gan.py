"""What the experiment of CycleGAN measures."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.translation import adaptation
from experiments.translation.cycle_gan import CycleGANConfig, build, partner_metrics
from jaxgen.data import ArraySource, Splits, Zipped
from jaxgen.nets import Jitter

RNG = np.random.default_rng(0)


def splits(a, b, labels=None):
    parts = {name: {"x": x} | ({"label": labels} if labels is not None else {}) for name, x in (("a", a), ("b", b))}
    zipped = Zipped({name: ArraySource(part, levels=256) for name, part in parts.items()})
    return Splits(zipped, zipped, zipped)


def test_partners_are_retrieved_in_both_directions():
    a = RNG.integers(0, 256, (60, 4, 4, 1)).astype(np.uint8)
    data = splits(a, 255 - a)
    experiment = build(CycleGANConfig(aligned=True), data)
    model = experiment.model

    def translate(x, to):
        """Right to b; to a right for the first half alone, so that the number of examples is not a chunk's."""
        return 255 - x if to == "b" else 255 - np.where(np.arange(len(x))[:, None, None, None] < 30, x, 255 - x)

    metrics = partner_metrics(model, data, SimpleNamespace(translate=translate))
    assert metrics["retrieval_a_to_b"] == 1 and metrics["l1_a_to_b"] == 0
    assert metrics["retrieval_b_to_a"] == pytest.approx(0.5, abs=0.05)
    gap = np.abs(2.0 * a[30:] - 255).mean() / 255
    assert metrics["l1_b_to_a"] == pytest.approx(gap / 2, rel=1e-4)
    copied = {name.removeprefix("copy, "): value for name, value in experiment.baselines.items()}
    assert copied.keys() == metrics.keys() and copied["l1_a_to_b"] == pytest.approx(
        np.abs(2.0 * a - 255).mean() / 255, rel=1e-4
    )
    assert copied["retrieval_a_to_b"] < 0.2


def test_the_defaults_are_the_papers():
    data = splits(*RNG.integers(0, 256, (2, 4, 32, 32, 3)).astype(np.uint8))
    model = build(CycleGANConfig(), data).model
    assert (model.cycle_weight, model.identity_weight, model.pool.size, model.head_size) == (10.0, 5.0, 50, 7)
    assert (model.generator.width, model.generator.halvings, model.generator.blocks) == (64, 2, 6)
    assert model.critic.receptive_field == 70 and model.jitter == Jitter()
    small = CycleGANConfig(**CycleGANConfig.PRESETS["small"])
    assert build(small, data).model.jitter is None


def test_a_classifier_is_tested_on_the_domain_that_its_examples_were_translated_to(monkeypatch):
    a, labels = RNG.integers(0, 256, (6, 4, 4, 1)).astype(np.uint8), np.arange(6) % 2
    data = splits(a, 255 - a, labels)
    calls = []

    def accuracy(train, test, translate=None, seed=0):
        x = train.arrays["x"] if translate is None else translate(train.arrays["x"])
        calls.append((bool(np.array_equal(x, test.arrays["x"])), seed))
        return len(calls) / 10

    monkeypatch.setattr(adaptation, "adaptation_accuracy", accuracy)
    trained = SimpleNamespace(translate=lambda x, to: 255 - x)
    metrics = adaptation.adaptation_metrics(data, trained, 3)
    assert metrics == {
        "accuracy_a_to_b": 0.1,
        "source_only_a_to_b": 0.2,
        "accuracy_b_to_a": 0.3,
        "source_only_b_to_a": 0.4,
    }
    assert calls == [(True, 3), (False, 3), (True, 3), (False, 3)]
