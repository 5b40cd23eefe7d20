"""The studies of the hybrid wing, from runs that are finished."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.config import Experiment
from experiments.hybrids.ganomaly import GANomalyConfig
from experiments.studies import anomaly, harness, hybrids
from experiments.studies.anomaly import AnomalyStudy
from experiments.studies.hybrids import HybridStudy, few_of_each
from experiments.vaes.anomaly import AnomalyConfig
from jaxgen.data import ArraySource, Splits, source


def runner(called, test, baselines=None):
    """Stands in for a process; `test` is the result's metrics by the run's folder."""

    def run(module, out, *arguments):
        words = [word for given in arguments for word in ([given] if isinstance(given, str) else given)]
        called.append((module, out.name, words))
        out.mkdir(parents=True)
        result = {"test": test(out.name), "baselines": baselines or {}, "training_seconds": 60.0, "wall_seconds": 70.0}
        result |= {"command": out.name, "data": "", "standard_errors": dict.fromkeys(test(out.name), 0.01)}
        (out / "result.json").write_text(json.dumps(result))

    return run


def cells_of(text):
    cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line)
    return {name: rest for name, *rest in cells}


def finished(monkeypatch, metrics):
    """Stands in for training; `metrics(config)` are those of the test split. Returns the configs that were trained."""
    configs = []

    def build(config, data):
        configs.append(config)
        baselines = {"AUC, PCA": 0.8, "AUC, isolation forest": 0.6} if config.baselines else {}
        return Experiment(None, final_metrics=lambda trained: metrics(config), data=data, baselines=baselines)

    systems = {name: system._replace(build=build) for name, system in anomaly.SYSTEMS.items()}
    monkeypatch.setattr(anomaly, "SYSTEMS", systems)
    monkeypatch.setattr(anomaly, "fit", lambda *_, **__: None)
    return configs


def test_each_system_has_its_scores_on_each_class(tmp_path, monkeypatch):
    def metrics(config):
        value = 0.9 if config.held_out == 4 else 0.7
        return {f"AUC, {by}": value for by in ("latent", "pixels", "log_prob", "elbo", "reconstruction")}

    configs = finished(monkeypatch, metrics)
    config = AnomalyStudy(runs=tmp_path, held_out=(4, 7), steps=70, vae_steps=90, train_examples=100, width=3)
    text = anomaly.study(config)
    assert [type(c).__name__ for c in configs] == [
        *["GANomalyConfig"] * 4,
        *["AnomalyConfig"] * 2,
        *["GANomalyConfig"] * 2,
    ]
    weights = [(c.adversarial_weight, c.latent_weight) for c in configs if isinstance(c, GANomalyConfig)]
    assert weights[::2] == weights[1::2] == [(1, 1), (0, 0), (0, 1)]
    for each in configs:
        is_vae = isinstance(each, AnomalyConfig)
        assert each.steps == each.eval_every == (90 if is_vae else 70) and each.train_examples == 100
        assert each.baselines == is_vae and (is_vae or (each.width, each.ema) == (3, 0.99))
    rows = cells_of(text)
    assert rows["score"] == ["held out 4", "held out 7", "mean"]
    assert rows["GANomaly, latent"] == ["0.900", "0.700", "0.800"] and rows["PCA"] == ["0.800"] * 3
    assert {"GANomaly, pixels", "autoencoder, pixels", "VAE, log_prob", "isolation forest"} < set(rows)
    assert "autoencoder, latent" not in rows
    assert anomaly.study(config) == text and len(configs) == 8
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert records[0]["system"] == "GANomaly, held out 4" and records[0]["headline"] == ["AUC, latent", "AUC, pixels"]


def test_kinds_of_anomalies_have_columns(tmp_path, monkeypatch):
    finished(monkeypatch, lambda config: {"AUC, latent": 0.9, "AUC, pixels": 0.8, "AUC, latent, class 3": 0.7})
    rows = cells_of(anomaly.study(AnomalyStudy(runs=tmp_path, normal=(0,), systems=("GANomaly",))))
    assert rows["score"] == ["normal 0", "class 3"]
    assert rows["GANomaly, latent"] == ["0.900", "0.700"] and rows["GANomaly, pixels"] == ["0.800", ""]


@pytest.mark.slow
def test_seeds_of_a_system_are_trained_side_by_side(tmp_path):
    config = AnomalyStudy(
        runs=tmp_path, normal=(0,), systems=("autoencoder",), steps=2, width=2, train_examples=64, seeds=2
    )
    rows = cells_of(anomaly.study(config))
    assert "±" in rows["autoencoder, pixels"][0] and len(rows["autoencoder, pixels"]) == 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "`held_out` or `normal` must name a class"),
        ({"normal": (0,), "systems": ("GAN",)}, "`systems` must be some of"),
    ],
)
def test_an_anomaly_study_of_nothing_is_refused(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        anomaly.study(AnomalyStudy(runs=tmp_path, **fields))


def faces(path):
    rng, arrays = np.random.default_rng(0), {}
    for split, n in (("train", 30), ("valid", 6), ("test", 9)):
        arrays[f"x_{split}"] = rng.integers(0, 256, (n, 4, 4)).astype(np.uint8)
        arrays[f"subject_{split}"], arrays[f"light_{split}"] = np.arange(n) % 3, np.arange(n) // 3
    np.savez(path, **arrays)
    return str(path)


def test_a_few_of_each_class_are_the_first_ones(tmp_path):
    splits = source(faces(tmp_path / "faces.npz"), arrays={"label": "subject"})
    few = few_of_each(splits, 2)
    np.testing.assert_array_equal(few["y_train"], [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(few["x_train"], splits.train.arrays["x"][[0, 3, 1, 4, 2, 5]])
    np.testing.assert_array_equal(few["x_test"], splits.test.arrays["x"])
    uneven = ArraySource({"x": np.zeros((3, 2), np.float32), "label": np.array([1, 0, 1])}, num_classes=2)
    np.testing.assert_array_equal(few_of_each(Splits(uneven, uneven, uneven), 5)["y_train"], [0, 1, 1])


def test_the_generators_of_a_few_pictures_see_no_others(tmp_path, monkeypatch):
    called = []

    def test(name):
        return {"accuracy": 0.5, "pixel error": 0.03, "class accuracy of samples": 0.9, "swap error": 0.07}

    monkeypatch.setattr(harness.commands, "run", runner(called, test, {"copy, swap error": 0.11}))

    def sample(key, n, context):
        return np.broadcast_to(context.argmax(1).astype(np.uint8)[:, None, None, None], (n, 4, 4, 1))

    monkeypatch.setattr(hybrids.jaxgen, "load", lambda folder: SimpleNamespace(sample=sample))
    path = faces(tmp_path / "faces.npz")
    config = HybridStudy(digits="digits", faces=path, runs=tmp_path / "runs", few=2, generated=3, seeds=2)
    text = hybrids.study(config)
    words = {out: words for _, out, words in called}
    assert list(words) == [
        "digits_classifier", "digits_VAE", "digits_VAE-GAN", "faces_classifier", "faces_CVAE", "faces_CGAN",
        "faces_CVAE-GAN", "few_no_samples", "few_generator_CVAE", "few_CVAE", "few_generator_CVAE-GAN", "few_CVAE-GAN",
    ]  # fmt: skip
    few = str(tmp_path / "runs" / "few.npz")
    for name in ("few_no_samples", "few_generator_CVAE", "few_generator_CVAE-GAN"):
        assert words[name][words[name].index("--data") + 1] == few
    both = np.load(tmp_path / "runs" / "few_and_CVAE-GAN.npz")
    assert len(both["x_train"]) == 6 + 9 and (both["x_train"][6:, 0, 0, 0] == both["y_train"][6:]).all()
    np.testing.assert_array_equal(np.bincount(both["y_train"]), [5, 5, 5])
    np.testing.assert_array_equal(both["x_test"], np.load(few)["x_test"])
    assert "--extractor" in words["faces_CGAN"] and "--extractor" not in words["few_generator_CVAE"]
    rows = cells_of(text)
    assert rows["copy"] == ["", "0.1100", "", "", ""] and rows["few"] == ["accuracy", "training"]
    assert rows["VAE-GAN"][0] == "0.0300 ± 0.0100" and rows["CGAN"][:2] == ["0.900 ± 0.010", "0.0700 ± 0.0100"]
    records = [json.loads(line) for line in (tmp_path / "runs" / "records.jsonl").read_text().splitlines()]
    assert len(records) == 8 and all("classifier" not in record["system"] for record in records)
    with pytest.raises(ValueError, match="`digits` or `faces` must name data"):
        hybrids.study(HybridStudy(runs=tmp_path))
