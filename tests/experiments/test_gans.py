"""What single experiments with adversarial networks bring along, apart from their runs."""

import dataclasses
import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gans.cgan import CGANConfig
from experiments.gans.cgan import build as build_cgan
from experiments.gans.infogan import recognised
from experiments.gans.localized import LocalizedConfig, with_examples
from experiments.gans.localized import build as build_localized
from experiments.gans.sagan import SAGANConfig
from experiments.gans.sagan import build as build_sagan
from experiments.gans.semi_supervised import SemiSupervisedConfig
from experiments.gans.semi_supervised import build as build_semi_supervised
from experiments.studies import mixtures
from jaxgen.data import ArraySource, Splits, source
from jaxgen.models.gans import CriticOutput, Information
from jaxgen.nets import MLP, Concatenate, FiLM, Projection
from jaxgen.training import NonFiniteLoss


def test_the_most_likely_category_is_read_off_in_batches():
    def critic_output(x, context):
        """Features that are the logits of two categories and the moments of a continuous code."""
        likely = np.eye(4)[np.int32(x[:, 0])] + context
        return CriticOutput(np.zeros(len(x)), np.concatenate([np.log(0.1 + 0.6 * likely), np.zeros((len(x), 4))], -1))

    term = Information((4, 2), 1, MLP(()))
    variables = {"recognition": {"params": {"layers_1": {"out": {"kernel": np.eye(8), "bias": np.zeros(8)}}}}}
    trained = SimpleNamespace(critic_output=critic_output, variables=variables)
    categories, labels = np.arange(10) % 4, np.arange(10) % 3
    # for a conditional critic: the context of one example decides its category
    context = np.zeros((10, 4), np.float32)
    context[5, 3] = 2
    columns = {"x": np.float32(categories)[:, None], "label": labels, "context": context}
    seen, label = recognised(term, trained, ArraySource(columns, num_classes=3), batch_size=3)
    np.testing.assert_array_equal(seen, np.where(np.arange(10) == 5, 3, categories))
    np.testing.assert_array_equal(label, labels)


@pytest.mark.parametrize(("build", "config", "generator", "critic"), [
    (build_cgan, CGANConfig(), (2e-4, 0.5, 0.999), (2e-4, 0.5, 0.999)),
    (build_sagan, SAGANConfig(), (1e-4, 0.0, 0.9), (4e-4, 0.0, 0.9)),
])  # fmt: skip
def test_optimizers_are_the_papers(build, config, generator, critic):
    """Two steps along gradients that differ tell the rate and both betas."""
    optimizers = build(config, source("digits")).optimizers
    for name, (rate, b1, b2) in (("generator", generator), ("critic", critic)):
        optimizer, m, v = optimizers[name], 0.0, 0.0
        state = optimizer.init(jnp.zeros(()))
        for step, gradient in enumerate((1.0, -3.0, 0.5), 1):
            update, state = optimizer.update(jnp.float32(gradient), state)
            m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
            expected = -rate * m / (1 - b1**step) / ((v / (1 - b2**step)) ** 0.5 + 1e-8)
            np.testing.assert_allclose(update, expected, rtol=1e-5)


def test_rows_become_their_own_context_on_the_networks_scale():
    x = np.arange(18, dtype=np.uint8).reshape(3, 3, 2, 1) % 9
    split = with_examples(ArraySource({"x": x, "label": np.arange(3)}, levels=9, num_classes=3, name="few"))
    taken = split.take(np.array([2, 0]))
    np.testing.assert_allclose(taken["context"], x[[2, 0]].reshape(2, 6) / 4 - 1, rtol=1e-6)
    np.testing.assert_array_equal(taken["x"], x[[2, 0]])
    np.testing.assert_array_equal(taken["label"], [2, 0])
    assert (split.levels, split.num_classes, split.name) == (9, 3, "few")
    real = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    np.testing.assert_array_equal(with_examples(ArraySource({"x": real})).head(4)["context"], real)


def test_what_is_built_is_what_the_papers_have():
    digits = source("digits")
    ways = {way: build_cgan(CGANConfig(way=way), digits).model for way in ("concatenation", "product", "projection")}
    conditions = {way: (model.generator_condition, model.critic_condition) for way, model in ways.items()}
    assert conditions == {
        "concatenation": (Concatenate(), Concatenate()), "product": (FiLM(), FiLM()),
        "projection": (Concatenate(), Projection()),
    }  # fmt: skip
    two_rates = build_sagan(SAGANConfig(), digits).model
    assert two_rates.generator.condition == 10
    assert build_sagan(SAGANConfig(conditional=False), digits).model.generator.condition == 0
    game = build_semi_supervised(SemiSupervisedConfig(labels=20), digits)
    assert {name: len(part) for name, part in game.data.train.sources.items()} == {
        "labelled": 20, "unlabelled": len(digits.train) - 20
    }  # fmt: skip


def test_what_cannot_be_built_is_refused():
    points, digits = source("two_moons"), source("digits")
    for build, config in ((build_cgan, CGANConfig()), (build_sagan, SAGANConfig())):
        with pytest.raises(ValueError, match="for convolutional networks"):
            build(config, points)
    with pytest.raises(ValueError, match="multiple of the 10 classes"):
        build_semi_supervised(SemiSupervisedConfig(labels=15), digits)
    with pytest.raises(ValueError, match="must have labels"):
        build_semi_supervised(
            SemiSupervisedConfig(), Splits(*(ArraySource({"x": part.arrays["x"]}) for part in points))
        )
    with pytest.raises(ValueError, match="requires packing=1"):
        build_semi_supervised(SemiSupervisedConfig(packing=2), digits)
    for build, config in ((build_semi_supervised, SemiSupervisedConfig), (build_localized, LocalizedConfig)):
        with pytest.raises(ValueError, match="`conditional` must be False"):
            build(config(conditional=True), digits)


def result(scale):
    of_seeds = {name: [scale * (i + 1.0), scale * (i + 2.0)] for i, name in enumerate(mixtures.METRICS)}
    return {**of_seeds, "training_seconds": 7}


def test_finished_games_are_rows_of_means_and_errors_and_those_with_other_settings_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mixtures, "fit_seeds", None)
    config = mixtures.Mixtures(steps=4, seeds=2, share=0.5, only=("GAN, gaussian_ring",), runs=tmp_path)
    settings = {"steps": 4, "seeds": 2, "share": 0.5}
    for stem, scale in (("GAN_gaussian_ring", 1), ("hinge_gaussian_ring", 2)):
        (tmp_path / f"{stem}.json").write_text(json.dumps({"settings": settings, "result": result(scale)}))
    first, _, plain, hinge, blank, last = mixtures.study(config).splitlines()
    # two values that are one apart have a standard error of one half
    assert plain.split(" | ") == [
        "| GAN, gaussian_ring", "1.5 ± 0.5", "2.5 ± 0.5", "3.500 ± 0.500", "4.500 ± 0.500", "6.3 – 0.982 0.45", "7 |"
    ]  # fmt: skip
    assert hinge.split(" | ")[1:6] == ["3.0 ± 1.0", "5.0 ± 1.0", "7.000 ± 1.000", "9.000 ± 1.000", ""]
    assert first.count("|") == plain.count("|") == 8 and blank == ""
    assert last == "4 steps of 100, 2 seeds, 0.5 of the paper's widths."
    record = json.loads((tmp_path / "records.jsonl").read_text().splitlines()[0])
    assert (record["system"], record["data"], record["test"]["modes"]) == ("GAN", "gaussian_ring", 1.5)
    assert record["standard_errors"]["modes"] == 0.5 and len(record["published"]) == 3
    with pytest.raises(ValueError, match="has settings"):
        mixtures.study(dataclasses.replace(config, steps=5))
    with pytest.raises(ValueError, match=r"`only` must name rows of .*, got \['GANN'\]"):
        mixtures.study(dataclasses.replace(config, only=("GANN",)))


@pytest.mark.slow
def test_games_on_mixtures_are_trained_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(mixtures, "PER_CALL", 3)  # 4 steps are a whole call and a part of one
    config = mixtures.Mixtures(steps=4, seeds=2, share=0.02, only=("WGAN, gaussian_ring",), runs=tmp_path)
    table = mixtures.study(config).splitlines()
    assert table[2].startswith("| WGAN, gaussian_ring | ") and table[3] == ""
    assert (tmp_path / "WGAN_gaussian_ring.png").stat().st_size > 0
    found = json.loads((tmp_path / "WGAN_gaussian_ring.json").read_text())
    assert found["settings"] == {"steps": 4, "seeds": 2, "share": 0.02}
    metrics = found["result"]
    assert all(len(metrics[name]) == 2 for name in mixtures.METRICS)
    # four steps from small weights: all samples near the middle, none near a mode; seeds differ
    assert max(metrics["high_quality"]) < 0.1 and metrics["reverse_kl"][0] != metrics["reverse_kl"][1]
    # and a loss that is not finite is said
    monkeypatch.setattr(mixtures, "pacgan", lambda share: dataclasses.replace(PACGAN(share), transforms=(spoiled,)))
    with pytest.raises(NonFiniteLoss, match="not finite at step 1"):
        mixtures.study(dataclasses.replace(config, only=("GAN, gaussian_ring",), runs=tmp_path / "other"))


PACGAN = mixtures.pacgan


def spoiled(x, key, step):
    return x + jnp.where(step == 1, jnp.nan, 0.0)
