"""Pix2Pix from its command line, with a segmenter and a trunk as judges, and the scores of translations."""

import json
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxgen
from experiments.run import main
from experiments.translation import pix2pix, segmenter
from experiments.translation.pix2pix import Pix2PixConfig
from experiments.translation.scores import Judges, baselines, label_scores, paired_scores
from jaxgen.data import domains
from jaxgen.nets import BatchNorm, PatchCritic, UNet

PALETTE = np.uint8([[0, 0, 255], [0, 170, 0], [200, 0, 9]])


@pytest.fixture(scope="module")
def facades(tmp_path_factory):
    """Photographs whose colours tell the classes, noisy."""
    rng, file, arrays = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "facades.npz", {"palette": PALETTE}
    for split, n in (("train", 24), ("valid", 4), ("test", 6)):
        labels = rng.integers(0, 3, (n, 4, 4)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
        photo = 40 + 80 * labels[..., None] + rng.integers(-20, 20, (n, 16, 16, 3))
        arrays |= {f"label_{split}": labels, f"photo_{split}": photo.astype(np.uint8)}
    np.savez(file, **arrays)
    return file


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    rng, file = np.random.default_rng(0), tmp_path_factory.mktemp("trunk") / "trunk.npz"
    arrays, channels = {"mean_bgr": np.zeros(3, np.float32)}, 3
    for name, width in (("1_1", 3), ("2_1", 4)):
        arrays[f"conv{name}_kernel"] = rng.normal(size=(3, 3, channels, width)).astype(np.float32)
        arrays[f"conv{name}_bias"], channels = np.zeros(width, np.float32), width
    np.savez(file, **arrays)
    return file


@pytest.mark.slow
def test_a_segmenter_judges_translations_of_its_label_maps(facades, trunk, tmp_path, monkeypatch, capsys):
    def run(module, config, out, *arguments):
        words = ["--data", str(facades), "--domains", "label", "photo", "--out", str(tmp_path / out), *arguments]
        monkeypatch.setattr(sys, "argv", ["program", *words])
        main(config, module.build)
        return json.loads((tmp_path / out / "result.json").read_text())

    judge = run(segmenter, segmenter.SegmenterConfig, "judge", "--width", "4", "--steps", "250", "--eval-every", "250")
    assert judge["test"]["pixel_accuracy"] > 0.6 > judge["baselines"]["most frequent class, pixel_accuracy"]
    small = ("--preset", "small", "--steps", "4", "--eval-every", "4", "--width", "2", "--critic-width", "2")
    judges = ("--segmenter", str(tmp_path / "judge"), "--trunk", str(trunk), "--receptive-field", "16")
    result = run(pix2pix, Pix2PixConfig, "run", *small, *judges)
    scores = {"l1", "psnr", "retrieval", "frechet_relu2_1"}
    assert set(result["test"]) == scores | {f"label_back_{n}" for n in ("pixel_accuracy", "class_accuracy", "iou")}
    assert set(result["baselines"]) == {f"{n}, l1" for n in ("mean picture", "input", "mean colour of each class")}
    assert result["baselines"]["mean colour of each class, l1"] < 0.05 < result["test"]["l1"]
    assert (tmp_path / "run" / "translations.png").stat().st_size > 0
    data = domains(facades, ("label", "photo"), paired=True).test.head(6)
    found = label_scores(jaxgen.load(tmp_path / "judge"), data["a"]["x"], data["b"]["x"])
    assert found["pixel_accuracy"] == pytest.approx(judge["test"]["pixel_accuracy"])


def test_the_defaults_are_the_papers(facades):
    data = domains(facades, ("label", "photo"), paired=True)
    config = Pix2PixConfig()
    experiment = pix2pix.build(config, data)
    model = experiment.model
    assert (model.generator, model.critic) == (UNet(norm=BatchNorm), PatchCritic())
    assert (model.l1_weight, model.adversarial_weight, model.critic_weight) == (100, 1, 0.5)
    assert model.jitter.scale == 286 / 256 and model.jitter.mirror and model.statistics == "picture"
    # 200 epochs of 400 pairs, one at a time, without averages; the last variables
    assert (config.batch_size, config.steps, config.ema, config.eval_every) == (1, 80_000, 0, 80_000)
    for optimizer in experiment.optimizers.values():
        state = optimizer.init(jnp.zeros(()))
        first, state = optimizer.update(jnp.float32(2), state)
        second, _ = optimizer.update(jnp.float32(-1), state)
        m, v = (0.5 * 1 - 0.5) / 0.75, (0.999 * 0.004 + 0.001) / (1 - 0.999**2)
        np.testing.assert_allclose([first, second], [-2e-4, -2e-4 * m / v**0.5], rtol=1e-4, atol=1e-9)


def test_scores_of_a_translation(facades, trunk):
    data = domains(facades, ("label", "photo"), paired=True)
    x, y = (data.test.sources[name].arrays["x"] for name in ("a", "b"))
    labels = (PALETTE == x[..., None, :]).all(-1).argmax(-1)

    class Brightness(nn.Module):
        """What tells the classes of the photographs."""

        def labels(self, maps):
            return labels

        num_classes = 3

    def logits(pictures):
        return -np.abs(np.float32(pictures).mean(-1, keepdims=True) - np.float32([40, 120, 200]))

    judges = Judges(SimpleNamespace(model=Brightness(), logits=logits), trunk)
    scores = paired_scores(x, y, y, judges)
    assert (scores["l1"], scores["retrieval"], scores["psnr"]) == (0, 1, 100)
    assert scores["label_back_pixel_accuracy"] > 0.98 and scores["frechet_relu2_1"] == pytest.approx(0, abs=1e-2)
    darker = paired_scores(x, y - 10, y, judges)
    assert darker["l1"] == pytest.approx(10 / 255) and darker["psnr"] == pytest.approx(20 * np.log10(25.5), rel=1e-4)
    assert darker["frechet_relu2_1"] > 100
    # translations of other label maps
    rolled = paired_scores(x, np.roll(y, 1, 0), y, judges)
    assert rolled["retrieval"] == 0 and rolled["label_back_pixel_accuracy"] < 0.6
    methods = baselines(data)
    train_x, train_y = (data.train.sources[name].arrays["x"] for name in ("a", "b"))
    np.testing.assert_array_equal(methods["input"], x)
    np.testing.assert_allclose(methods["mean picture"][0], train_y.mean(0), atol=0.51)
    green = train_y[(train_x == PALETTE[1]).all(-1)].mean(0)
    found = methods["mean colour of each class"][labels == 1]
    np.testing.assert_allclose(found, np.broadcast_to(green, found.shape), atol=0.51)


def test_a_palette_is_that_of_the_label_maps(facades):
    data = domains(facades, ("label", "photo"), paired=True)
    assert sorted(segmenter.palette(data)) == sorted(map(tuple, PALETTE.tolist()))
    with pytest.raises(ValueError, match="label maps with at most 256 colours"):
        segmenter.palette(domains(facades, ("photo", "label"), paired=True))
