import json

import numpy as np
import pytest

from experiments.gans.stacked_digits import StackedDigitsConfig, build, digits
from jaxgen.data import ArraySource, source
from jaxgen.data.images import stacked
from tests.experiments.test_experiments import RUNS, TINY, run


def test_three_images_of_the_split_are_the_colours_of_one():
    x = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * np.ones((1, 2, 2, 1), np.uint8)
    rows = stacked(ArraySource({"x": x, "label": np.arange(5)}, levels=256, num_classes=5), 2000, 0)
    colours = rows.arrays["x"][:, 0, 0]
    assert rows.event_shape == (2, 2, 3) and (rows.arrays["x"] == colours[:, None, None]).all()
    # each colour is drawn by itself: all 125 combinations of five images occur, equally often
    counts = np.bincount(np.int32(colours) @ [25, 5, 1], minlength=125)
    assert counts.min() > 0 and counts.max() < 40
    assert "label" not in rows.arrays


class Threshold:
    def logits(self, x):
        bright = x.mean((1, 2, 3)) > 7
        return np.stack([~bright, bright], -1).astype(np.float32)


def test_colours_are_seen_one_by_one():
    x = np.zeros((3, 4, 4, 3), np.uint8)
    x[0, ..., 1] = x[2, ..., 0] = x[2, ..., 2] = 16
    np.testing.assert_array_equal(digits(Threshold(), x), [[0, 1, 0], [0, 0, 0], [1, 0, 1]])


def test_what_cannot_be_stacked_or_judged_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`extractor` must be a run"):
        build(StackedDigitsConfig(), source("digits"))
    with pytest.raises(ValueError, match="must hold labelled images"):
        build(StackedDigitsConfig(extractor=tmp_path, data="two_moons"), source("two_moons"))


@pytest.mark.slow
def test_from_a_classifier_to_figures_of_features_and_counted_modes(tmp_path, monkeypatch):
    judge, out = tmp_path / "judge", tmp_path / "run"
    run("gans.feature_extractor", *TINY, *RUNS["gans.feature_extractor"], "--out", str(judge), monkeypatch=monkeypatch)
    small = ["--rows", "200", "--counted", "600", "--width", "4", "--latents", "3", "--batch-size", "10"]
    run(
        "gans.stacked_digits", *TINY, *small, "--game", "wgan_gp", "--packing", "2", "--extractor", str(judge),
        "--out", str(out), monkeypatch=monkeypatch,
    )  # fmt: skip
    plain = tmp_path / "plain"
    run(
        "gans.cgan", *TINY, "--width", "4", "--network", "dense", "--measured", "100", "--extractor", str(judge),
        "--out", str(plain), monkeypatch=monkeypatch,
    )  # fmt: skip
    measured = json.loads((plain / "measured.json").read_text())
    assert (measured["num_real"], measured["num_fake"], measured["split"]) == (100, 100, "test")
    assert measured["extractor"].startswith("judge sha256:")
    figures = json.loads((plain / "result.json").read_text())["test"]
    assert figures["frechet_distance"] == measured["metrics"]["frechet_distance"] > 0
    assert 0 <= figures["class accuracy of samples"] <= 1
    lines = [json.loads(line) for line in (plain / "metrics.jsonl").read_text().splitlines()]
    assert any("valid/kernel_distance" in line and "raw/recall" in line for line in lines)
    test = json.loads((out / "result.json").read_text())["test"]
    assert 1 <= test["modes"] <= 600 and 0 < test["reverse_kl"] <= np.log(1000)
