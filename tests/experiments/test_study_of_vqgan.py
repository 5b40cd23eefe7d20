"""The study of the VQGAN, from runs that are finished."""

import json

import pytest

from experiments.studies import harness, vqgan
from experiments.studies.vqgan import METRICS, VQGANStudy
from jaxgen.training.trained import TrainedModel
from tests.models.hybrids.test_vqgan import MODEL, VARIABLES


def test_systems_differ_in_their_losses_alone(tmp_path, monkeypatch):
    called = []

    def run(module, out, *arguments):
        words = [word for given in arguments for word in given]
        called.append((module, out.name, words))
        out.mkdir(parents=True)
        test = {name: 0.5 + i for i, name in enumerate(METRICS)} | {"accuracy": 0.625}
        (out / "result.json").write_text(json.dumps({"test": test, "training_seconds": 90}))

    monkeypatch.setattr(harness.commands, "run", run)
    monkeypatch.setattr(vqgan, "sampling", lambda out: {"with the cache": 0.25, "without": 2.0, "equal codes": 1.0})
    config = VQGANStudy(data="digits", runs=tmp_path / "runs", steps=84)
    text = vqgan.study(config)
    assert [(module, out) for module, out, _ in called] == [
        ("gans.feature_extractor", "extractor"),
        *(("hybrids.vqgan", name) for name in ("VQ-VAE", "perceptual", "VQGAN")),
    ]
    systems = [words.pop(words.index("--system") + 1) for _, _, words in called[1:]]
    assert systems == ["vq_vae", "perceptual", "vqgan"] and called[1][2] == called[2][2] == called[3][2]
    assert called[1][2][called[1][2].index("--adversarial-start") + 1] == "14"
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert cells[-1] == ["VQGAN", "500.00", "1.50", "2.500", "3.50", "4.50", "5.50", "6.5", "7.5", "8.500", "1.5"]
    assert "accuracy on the test split is 0.625" in text and "0.250 s with the cache and 2.000 s without" in text
    assert vqgan.study(config) == text and len(called) == 4
    with pytest.raises(ValueError, match="GAN"):
        vqgan.study(VQGANStudy(data="digits", runs=tmp_path / "others", only=("GAN",)))


def test_seeds_have_a_standard_error_in_the_units_of_the_metric(tmp_path, monkeypatch):
    def run(module, out, *arguments):
        words = [word for given in arguments for word in given]
        assert words[words.index("--seeds") + 1] == "3" if module == "hybrids.vqgan" else "--seeds" not in words
        out.mkdir(parents=True)
        test = dict.fromkeys(METRICS, 0.5) | {"accuracy": 0.625}
        result = {"test": test, "standard_errors": {"squared_error": 0.125, "bits_per_code": 0.25}}
        (out / "result.json").write_text(json.dumps({**result, "training_seconds": 90}))

    sampled = []
    monkeypatch.setattr(harness.commands, "run", run)
    monkeypatch.setattr(
        vqgan, "sampling",
        lambda out: sampled.append(out) or {"with the cache": 0.25, "without": 2.0, "equal codes": 1.0},
    )  # fmt: skip
    text = vqgan.study(VQGANStudy(data="digits", runs=tmp_path, seed=4, seeds=3))
    cells = [cell.strip() for cell in text.splitlines()[-3].split("|")[1:-1]]
    assert cells[:3] == ["VQGAN", "500.00 ± 125.00", "0.50"] and cells[6] == "0.50 ± 0.25"
    assert sampled == [tmp_path / "VQGAN" / "seed-4"]


def test_sampling_is_timed_with_the_cache_and_without(monkeypatch, tmp_path):
    monkeypatch.setattr(vqgan.jaxgen, "load", lambda folder: TrainedModel(MODEL, VARIABLES))
    monkeypatch.setattr(vqgan, "CALLS", 1)
    timed = vqgan.sampling(tmp_path)
    assert timed["equal codes"] == 1 and min(timed.values()) > 0
