"""Anomaly detection: which rows train, which choose, and which are reported."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.vaes.anomaly import AnomalyConfig, build
from jaxgen.data import ArraySource, Splits, source
from jaxgen.data.tables import Columns
from jaxgen.distributions.likelihoods import Gaussian
from jaxgen.metrics import best_f1_threshold, precision_recall, roc_auc
from jaxgen.metrics.anomalies import detection_metrics


@pytest.fixture
def records(tmp_path):
    """A file whose attacks have numbers and categories that normal rows do not have."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train20", 300), ("test", 100)):
        y = (rng.random(n) < 0.4).astype(np.uint8)
        # the first column of normal rows is constant
        arrays[f"num_{split}"] = np.stack([7.0 * y, np.exp(rng.normal(size=n) * 2), rng.normal(size=n) + 9 * y], 1)
        arrays[f"cat_{split}"] = np.stack([rng.integers(3, size=n), 5 + y], 1)
        arrays[f"y_{split}"] = y
    path = tmp_path / "records.npz"
    np.savez(path, **arrays)
    return str(path)


def test_no_row_of_the_held_out_class_trains_or_chooses_a_checkpoint():
    data = source("digits")
    experiment = build(AnomalyConfig(held_out=4, width=4), data)
    for given, left in zip(data, experiment.data, strict=True):
        label = given.arrays["label"]
        np.testing.assert_array_equal(left.arrays["label"], label[label != 4])
        np.testing.assert_array_equal(left.arrays["x"], given.arrays["x"][label != 4])


def test_records_have_the_scale_of_normal_training_rows(records):
    data = source(records)
    experiment = build(AnomalyConfig(data=records, width=4, floor=0.07, limit=4.0), data)
    train = data.train.arrays
    normal = train["label"] == 0
    columns = Columns.of(train["x"][normal], train["categories"][normal], 4.0)
    expected = columns(train["x"], train["categories"])[normal]
    np.testing.assert_array_equal(experiment.data.train.arrays["x"], expected)
    assert experiment.model.event_shape == (3 + 4 + 2,) and experiment.model.likelihood == Gaussian(None, 0.07)
    test = data.test.arrays
    here = columns(test["x"], test["categories"])[test["label"] == 0]
    np.testing.assert_array_equal(experiment.data.test.arrays["x"], here)
    # attacks differ in every one of three columns: both methods must find them
    assert experiment.baselines["AUC, isolation forest"] > 0.9 and experiment.baselines["AUC, PCA"] > 0.9


def test_the_threshold_is_chosen_on_the_validation_rows():
    rng = np.random.default_rng(0)
    valid, test = (jnp.asarray(rng.random(200) < share) for share in (0.5, 0.1))
    valid_scores, test_scores = (jnp.asarray(rng.normal(size=200), jnp.float32) + kind for kind in (valid, test))
    figures = detection_metrics("score", valid_scores, test_scores, valid, test)
    precision, recall = precision_recall(test_scores, test, best_f1_threshold(valid_scores, valid))
    assert (figures["precision, score"], figures["recall, score"]) == (float(precision), float(recall))
    assert (precision, recall) != precision_recall(test_scores, test, best_f1_threshold(test_scores, test))
    assert figures["AUC, score"] == float(roc_auc(test_scores, test))


def unlabelled(data):
    return Splits(*(ArraySource({"x": split.arrays["x"]}, levels=split.levels, name=split.name) for split in data))


@pytest.mark.parametrize(
    ("change", "prepare", "said"),
    [
        ({"conditional": True}, None, "`conditional` must be False"),
        ({"held_out": 10}, None, "`held_out` must be below the 10 classes"),
        ({}, unlabelled, "must have labels"),
        (
            {},
            lambda data: data._replace(test=data.test.subset(np.flatnonzero(data.test.arrays["label"] != 9))),
            "class 9",
        ),
    ],
)
def test_data_without_anomalies_are_refused(change, prepare, said):
    data = source("digits")
    with pytest.raises(ValueError, match=said):
        build(AnomalyConfig(width=4, **change), data if prepare is None else prepare(data))


def test_records_want_a_likelihood_of_real_numbers(records):
    config = AnomalyConfig(data=records, width=4)
    with pytest.raises(ValueError, match="`likelihood` must be 'gaussian' for records, got 'bernoulli'"):
        build(dataclasses.replace(config, likelihood="bernoulli"), source(records))
