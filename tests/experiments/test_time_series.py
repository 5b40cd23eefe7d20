"""Scores of time series by trained judges, the study's controls, and its table."""

import json

import numpy as np
import pytest

from experiments.sequences.rc_gan import RCGANConfig, unrelated
from experiments.sequences.scores import classifier_accuracies, discriminative_scores, predictive_scores, series_scores
from experiments.studies import time_series
from experiments.studies.time_series import CONTROLS, TimeSeriesStudy, control, study

RNG = np.random.default_rng(0)


def waves(n, low=0.0, rng=RNG, steps=8):
    """Two columns on [0, 1], the second the next value of the first."""
    phase = rng.uniform(low, low + 3, (n, 1)) + 0.6 * np.arange(steps + 1)
    x = (1 + np.sin(phase)) / 2
    return np.stack([x[:, :-1], x[:, 1:]], -1).astype(np.float32)


@pytest.mark.slow
def test_a_classifier_tells_distributions_apart_and_not_equal_ones():
    real, other = waves(600), waves(600, low=3.0)
    same = discriminative_scores(real[:300], waves(300), real[300:], waves(300), (0, 1), 8, 300)
    different = discriminative_scores(real[:300], other[:300], real[300:], other[300:], (0, 1), 8, 300)
    assert same.shape == (2,) and (same < 0.12).all() and (different > 0.3).all()


@pytest.mark.slow
def test_a_predictor_learns_the_next_value_and_is_tested_on_data():
    # the last column's next value is the sine two steps after the first column's
    test = waves(300)
    learned = predictive_scores(waves(300), test, (0,), width=8, steps=1200)
    shuffled = RNG.permuted(waves(300), axis=0)
    assert learned[0] < 0.08 < 0.15 < predictive_scores(shuffled, test, (0,), width=8, steps=1200)[0]
    one = predictive_scores(waves(50)[..., :1], test[..., :1], (0,), steps=2)
    assert np.isfinite(one).all()


@pytest.mark.slow
def test_classes_are_learned_from_one_set_and_tested_on_another():
    label, test_label = RNG.integers(0, 2, 300), RNG.integers(0, 2, 200)
    x, test = (np.stack([waves(1, 3.0 * c)[0] for c in y]) for y in (label, test_label))
    learned = classifier_accuracies(x, label, test, test_label, 2, (0,), 8, 300)
    opposite = classifier_accuracies(x, 1 - label, test, test_label, 2, (0,), 8, 300)
    assert learned[0] > 0.9 and opposite[0] < 0.1


@pytest.mark.slow
def test_all_scores_of_one_set():
    train, test = waves(60), waves(40)
    scores = series_scores(train, test, waves(100), (0,), steps=0.001)
    assert set(scores) == set(time_series.METRICS) and all(np.isfinite(v) for v in scores.values())
    assert scores["autocorrelation_error"] < 0.1 and scores["nearest_training_ratio"] == pytest.approx(1, abs=0.5)
    with pytest.raises(ValueError, match="`fake` must have at least 100 series, got 99"):
        series_scores(train, test, waves(99), (0,), steps=0.001)


def test_controls_are_what_they_are_called():
    train, test = waves(50), waves(30)
    made = {name: make(np.random.default_rng(0), train, test, 40) for name, make in CONTROLS.items()}
    assert all(x.shape == (40, 8, 2) and x.dtype == np.float32 for x in made.values())
    rows = {tuple(row.ravel()) for row in train}
    assert all(tuple(row.ravel()) in rows for row in made["copies"])
    assert all(tuple(row.ravel()) in {tuple(r.ravel()) for r in test} for row in made["test windows"])
    # the same draws in another order of time, the same for both columns
    np.testing.assert_array_equal(np.sort(made["time shuffled"], 1), np.sort(made["copies"], 1))
    assert (made["time shuffled"] != made["copies"]).any((1, 2)).all()
    pairs = {tuple(step) for row in train for step in row}
    assert all(tuple(step) in pairs for row in made["time shuffled"] for step in row)
    assert made["constant with noise"].std(1).max() < 0.03
    walk = made["random walk"]
    np.testing.assert_array_equal(walk[:, 0], made["copies"][:, 0])
    np.testing.assert_allclose(np.diff(walk, axis=1).std((0, 1)), np.diff(train, axis=1).std((0, 1)), rtol=0.2)
    columns = {tuple(row[:, 1]) for row in train}
    mixed = made["columns mixed"]
    assert all(tuple(row[:, 1]) in columns for row in mixed) and not all(tuple(row.ravel()) in rows for row in mixed)


@pytest.fixture
def file(tmp_path):
    label = np.arange(40) % 2
    arrays = {f"short_{kind}_{split}": v for split in ("train", "test") for kind, v in (
        ("x", waves(40)[..., :1] + label[:, None, None]), ("y", label))}  # fmt: skip
    np.savez(tmp_path / "series.npz", stock=waves(1, steps=1500)[0], **arrays)
    return tmp_path / "series.npz"


def test_unrelated_classes_are_as_frequent_in_each_class_as_in_all():
    label = RNG.permutation(np.repeat([0, 1, 2], [100, 200, 300]))
    permuted = unrelated(label)
    counts = np.histogram2d(label, permuted, bins=3)[0]
    np.testing.assert_allclose(counts, np.outer([100, 200, 300], [100, 200, 300]) / 600, atol=2)
    assert sorted(permuted) == sorted(label)


def test_permuted_classes_are_a_context_that_says_nothing(file):
    config = RCGANConfig(data=str(file), series="short", pooled=True)
    own = config.open().train.arrays
    permuted = RCGANConfig(data=str(file), series="short", pooled=True, shuffled=True).open()
    other = permuted.train.arrays
    np.testing.assert_array_equal(own["x"], other["x"])
    assert (own["label"] != other["label"]).any() and sorted(own["label"]) == sorted(other["label"])
    for arrays in (own, other, permuted.test.arrays):
        np.testing.assert_array_equal(arrays["context"].argmax(1), arrays["label"])
    with pytest.raises(ValueError, match="`shuffled` must be False for series without classes"):
        RCGANConfig(data=str(file), series="stock", shuffled=True).open()


def test_the_table_has_all_arms(file, tmp_path, monkeypatch):
    config = TimeSeriesStudy(
        files=file, short="short", seeds=1, class_seeds=2, judge_steps=0.001, runs=tmp_path / "study"
    )

    def experiment(module, out, *arguments):
        words = [w for argument in arguments for w in ([argument] if isinstance(argument, str) else argument)]
        test = dict.fromkeys(time_series.METRICS, 0.25) | dict.fromkeys(time_series.CLASS_METRICS, 0.75)
        for seed in range(2 if "--seeds" in words else 0):
            (out / f"seed-{seed}").mkdir(parents=True)
            (out / f"seed-{seed}" / "result.json").write_text(json.dumps({"test": test}))
        return {"test": test, "training_seconds": 1.0, "words": words}

    monkeypatch.setattr(time_series.harness, "experiment", experiment)
    monkeypatch.setattr(
        time_series, "sequence_vae", lambda *given: {"tests": [dict.fromkeys(time_series.METRICS, 0.125)]}
    )
    monkeypatch.setattr(time_series, "control", lambda *given: {"tests": [dict.fromkeys(time_series.METRICS, 0.5)]})
    text = study(config)
    for name in (*CONTROLS, *time_series.ARMS, *time_series.CLASS_ARMS):
        assert f"| {name} |" in text
    assert (
        "| TimeGAN | 0.250 | 0.250 | 0.2500 |" in text
        and "| sequence VAE | 0.125 |" in text
        and "0.750 ± 0.000" in text
    )
    records = [json.loads(line) for line in (tmp_path / "study" / "records.jsonl").read_text().splitlines()]
    assert len(records) == 2 * (len(CONTROLS) + 3) + 2 and {r["experiment"] for r in records} == {"studies.time_series"}


@pytest.mark.slow
def test_a_control_is_measured_on_the_long_series(file, tmp_path):
    config = TimeSeriesStudy(files=file, short="short", judge_steps=0.001, runs=tmp_path)
    ((scores,),) = control("series", "copies", config).values()
    assert scores["nearest_training_ratio"] == 0


@pytest.mark.slow
def test_a_sequence_vae_is_measured_in_the_units_of_the_series(file, tmp_path):
    config = TimeSeriesStudy(files=file, short="short", steps=40, seeds=2, judge_steps=0.001, runs=tmp_path)
    row = time_series.sequence_vae("series", config)
    assert len(row["tests"]) == 2 and row["tests"][0] != row["tests"][1] and row["training_seconds"] > 0
    assert all(np.isfinite(list(test.values())).all() for test in row["tests"])
    assert time_series.sequence_vae("series", config)["tests"] == row["tests"]  # finished runs are read
