"""What single experiments with adversarial networks bring along, apart from their runs."""

import dataclasses
import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gans import mixtures
from experiments.gans.cgan import CGANConfig
from experiments.gans.cgan import build as build_cgan
from experiments.gans.infogan import category_error
from experiments.gans.localized import LocalizedConfig, with_rows
from experiments.gans.localized import build as build_localized
from experiments.gans.sagan import SAGANConfig
from experiments.gans.sagan import build as build_sagan
from experiments.gans.semi_supervised import SemiSupervisedConfig
from experiments.gans.semi_supervised import build as build_semi_supervised
from jaxgen.data import ArraySource, Splits, source
from jaxgen.models.gans import CriticOutput, Information
from jaxgen.nets import MLP, Concatenate, FiLM, Projection
from jaxgen.training import NonFiniteLoss


def rows(categories, labels):
    return ArraySource({"x": np.float32(categories)[:, None], "label": np.array(labels)}, classes=3)


def critic_output(x):
    """Features that are the logits of two categories and the moments of a continuous code; the first is the row."""
    likely = np.eye(4)[np.int32(x[:, 0])]
    return CriticOutput(np.zeros(len(x)), np.concatenate([np.log(0.1 + 0.6 * likely), np.zeros((len(x), 4))], -1))


def test_a_category_is_of_the_class_it_is_seen_with_on_validation_rows():
    term = Information((4, 2), 1, MLP(()))
    variables = {"recognition": {"params": {"layers_1": {"out": {"kernel": np.eye(8), "bias": np.zeros(8)}}}}}
    bound = SimpleNamespace(critic_output=critic_output, variables=variables)
    # category 0 is class 2, categories 1 and 2 are class 0, and the last, which is never seen, is the first class
    valid = rows([0, 0, 0, 1, 1, 2], [2, 2, 1, 0, 0, 0])
    # two of eight are wrong, though on these rows alone category 0 would be class 1
    few = [0, 0, 0, 1, 1, 2, 2, 3], [1, 1, 2, 0, 0, 0, 0, 0]
    splits = Splits(valid, valid, rows(*few))
    assert category_error(term, bound, splits) == {"category error": pytest.approx(2 / 8)}
    # more rows than are recognised at a time
    many = rows(few[0] * 200, few[1] * 200)
    assert category_error(term, bound, splits._replace(test=many)) == {"category error": pytest.approx(2 / 8)}


def test_rows_become_their_own_context_on_the_networks_scale():
    x = np.arange(18, dtype=np.uint8).reshape(3, 3, 2, 1) % 9
    split = with_rows(ArraySource({"x": x, "label": np.arange(3)}, levels=9, classes=3, name="few"))
    taken = split.take(np.array([2, 0]))
    np.testing.assert_allclose(taken["context"], x[[2, 0]].reshape(2, 6) / 4 - 1, rtol=1e-6)
    np.testing.assert_array_equal(taken["x"], x[[2, 0]])
    np.testing.assert_array_equal(taken["label"], [2, 0])
    assert (split.levels, split.classes, split.name) == (9, 3, "few")
    real = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    np.testing.assert_array_equal(with_rows(ArraySource({"x": real})).head(4)["context"], real)


def first_two_updates(optimizer):
    """Of gradients 1 and 3."""
    state = optimizer.init(jnp.zeros(()))
    first, state = optimizer.update(jnp.float32(1), state, jnp.zeros(()))
    return float(first), float(optimizer.update(jnp.float32(3), state, jnp.zeros(()))[0])


def test_what_is_built_is_what_the_papers_have():
    digits = source("digits")
    ways = {way: build_cgan(CGANConfig(way=way), digits).model for way in ("concatenation", "product", "projection")}
    conditions = {way: (model.generator_condition, model.critic_condition) for way, model in ways.items()}
    assert conditions == {
        "concatenation": (Concatenate(), Concatenate()), "product": (FiLM(), FiLM()),
        "projection": (Concatenate(), Projection()),
    }  # fmt: skip
    two_rates = build_sagan(SAGANConfig(), digits)
    rates = {name: first_two_updates(optimizer) for name, optimizer in two_rates.optimizers.items()}
    # Adam (0, 0.9): g / sqrt of the bias-corrected mean square, (0.09 g1^2 + 0.1 g2^2) / 0.19 in the second step
    second = 3 / np.sqrt((0.09 + 0.1 * 9) / 0.19)
    np.testing.assert_allclose(rates["generator"], [-1e-4, -1e-4 * second], rtol=1e-3)
    np.testing.assert_allclose(rates["critic"], [-4e-4, -4e-4 * second], rtol=1e-3)
    assert two_rates.model.generator.condition == 10
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
    with pytest.raises(ValueError, match="no labels"):
        build_semi_supervised(SemiSupervisedConfig(), Splits(*(ArraySource({"x": part.arrays["x"]}) for part in points)))
    with pytest.raises(ValueError, match="requires packing=1"):
        build_semi_supervised(SemiSupervisedConfig(packing=2), digits)
    for build, config in ((build_semi_supervised, SemiSupervisedConfig), (build_localized, LocalizedConfig)):
        with pytest.raises(ValueError, match="conditional=True"):
            build(config(conditional=True), digits)


def result(scale):
    return {**{name: [scale * (i + 1.0), scale * (i + 2.0)] for i, name in enumerate(mixtures.FIGURES)}, "training_seconds": 7}


def test_lines_are_means_with_standard_errors():
    config = mixtures.Mixtures(steps=12_000, seeds=2, share=0.5)
    results = {("GAN", "gaussian_ring"): result(1), ("hinge", "gaussian_ring"): result(2)}
    first, _, plain, hinge, blank, last = mixtures.lines(results, config)
    # two values that are one apart have a standard error of one half
    assert plain.split(" | ") == [
        "| GAN", "gaussian_ring", "1.5 ± 0.5", "2.5 ± 0.5", "3.500 ± 0.500", "4.500 ± 0.500", "6.3 – 0.982 0.45", "7 |"
    ]  # fmt: skip
    assert hinge.split(" | ")[2:7] == ["3.0 ± 1.0", "5.0 ± 1.0", "7.000 ± 1.000", "9.000 ± 1.000", ""]
    assert first.count("|") == plain.count("|") == 9 and blank == ""
    assert last == "12,000 steps of 100, 2 seeds, 0.5 of the paper's widths."
    assert mixtures.spread([0.25], 2) == "0.25"


def test_games_and_mixtures_of_other_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"only=\['GANN'\] was given; the games are \['GAN', 'PacGAN2'"):
        mixtures.main(mixtures.Mixtures(only=("GAN", "GANN"), runs=tmp_path / "runs"))
    with pytest.raises(ValueError, match=r"data=\['ring'\] was given; the mixtures are"):
        mixtures.main(mixtures.Mixtures(data=("ring",), runs=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_finished_games_are_read_and_those_of_other_settings_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mixtures, "train", None)
    config = mixtures.Mixtures(steps=4, seeds=2, only=("GAN",), data=("gaussian_ring",), runs=tmp_path)
    settings = {"steps": 4, "seeds": 2, "share": 1.0}
    for stem in ("gaussian_ring-GAN", "gaussian_ring-GAN-minimax"):
        (tmp_path / f"{stem}.json").write_text(json.dumps({"settings": settings, **result(1)}))
    table = mixtures.main(config)
    assert [line.split(" | ")[0] for line in table.splitlines()[2:4]] == ["| GAN", "| GAN, minimax"]
    assert (tmp_path / "table.md").read_text() == table + "\n"
    with pytest.raises(ValueError, match="give other --runs"):
        mixtures.main(dataclasses.replace(config, steps=5))


@pytest.mark.slow
def test_games_on_mixtures_are_trained_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(mixtures, "PER_CALL", 3)  # 4 steps are a whole call and a part of one
    config = mixtures.Mixtures(steps=4, seeds=2, share=0.02, only=("WGAN",), data=("gaussian_ring",), runs=tmp_path)
    table = mixtures.main(config).splitlines()
    assert table[2].startswith("| WGAN | gaussian_ring | ") and table[3] == ""
    assert (tmp_path / "gaussian_ring-WGAN.png").stat().st_size > 0
    found = json.loads((tmp_path / "gaussian_ring-WGAN.json").read_text())
    assert found["settings"] == {"steps": 4, "seeds": 2, "share": 0.02}
    assert all(len(found[name]) == 2 for name in mixtures.FIGURES)
    # four steps from small weights: all samples near the middle, none near a mode; seeds differ
    assert max(found["high_quality"]) < 0.1 and found["reverse_kl"][0] != found["reverse_kl"][1]
    # and a loss that is not finite is said
    monkeypatch.setattr(mixtures, "pacgan", lambda share: dataclasses.replace(PACGAN(share), transforms=(spoiled,)))
    with pytest.raises(NonFiniteLoss, match="not finite at step 1"):
        mixtures.main(dataclasses.replace(config, only=("GAN",), runs=tmp_path / "other"))


PACGAN = mixtures.pacgan


def spoiled(x, key, step):
    return x + jnp.where(step == 1, jnp.nan, 0.0)
