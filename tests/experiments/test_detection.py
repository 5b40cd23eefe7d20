"""What detection experiments share: the task that a config describes, and metrics of given scores."""

import numpy as np
import pytest
import sklearn.decomposition
import sklearn.metrics

from experiments.detection import DetectionConfig, detection_fields, detection_task
from experiments.hybrids.ganomaly import GANomalyConfig, build
from jaxgen.data import ArraySource, Splits, source
from jaxgen.metrics.anomalies import anomaly_baselines
from jaxgen.models.hybrids import GANomaly


def labelled(label, first):
    """Images [1, 1, 1] whose value is their index."""
    x = np.arange(first, first + len(label), dtype=np.float32)[:, None, None, None]
    return ArraySource({"x": x, "label": np.array(label)}, num_classes=3)


DATA = Splits(labelled([0, 1, 2, 0, 0], 0), labelled([0, 0], 10), labelled([0, 1, 0, 2, 2, 1, 0], 20))


@pytest.mark.parametrize(
    ("fields", "trained", "test", "kinds"),
    [
        ({"held_out": 1}, [0, 2, 3, 4], [0, 1, 0, 0, 0, 1, 0], ()),
        ({}, [0, 1, 3, 4], [0, 0, 0, 1, 1, 0, 0], ()),  # the last class
        ({"normal": 0}, [0, 3, 4], [0, 1, 0, 1, 1, 1, 0], (1, 2)),
        ({"normal": 0, "train_examples": 2}, [0, 3], [0, 1, 0, 1, 1, 1, 0], (1, 2)),
    ],
)
def test_who_is_an_anomaly(fields, trained, test, kinds):
    task = detection_task(DetectionConfig(**fields), DATA)
    np.testing.assert_array_equal(task.normal.train.arrays["x"].ravel(), trained)
    np.testing.assert_array_equal(task.test, np.array(test, bool))
    np.testing.assert_array_equal(task.normal.test.arrays["x"].ravel(), 20 + np.flatnonzero(~task.test))
    assert task.kinds == kinds


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"normal": 3}, "`normal` must be below the 3 classes of data='digits', got 3"),
        ({"held_out": 0}, "must have normal examples in each split .* anomalous class 0"),
        ({"normal": 1}, "must have normal examples in each split .* normal class 1"),
        ({"normal": 0, "held_out": 1}, "`held_out` must be None if `normal` is given, got 1 and 0"),
    ],
)
def test_a_task_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        detection_task(DetectionConfig(**fields), DATA)


def test_each_kind_of_anomaly_is_compared_with_the_normal_examples():
    """The anomalies of other kinds are left out, and without validation anomalies there is no threshold."""
    config = DetectionConfig(normal=0, baselines=False)
    task = detection_task(config, DATA)
    scores = np.float32([0.4, 0.3, 0.1, 0.5, 0.2, 0.6, 0.35])

    def score(trained, split, by):
        return scores if len(split) == 7 else np.float32([0.1, 0.2])

    fields = detection_fields(config, DATA, task, ("pixels",), score)
    metrics = fields["final_metrics"](object())
    assert set(metrics) == {
        "AUC, pixels", "average precision, pixels", "AUC, pixels, class 1", "AUC, pixels, class 2"
    }  # fmt: skip
    labels = DATA.test.arrays["label"]
    assert metrics["AUC, pixels"] == pytest.approx(sklearn.metrics.roc_auc_score(labels != 0, scores))
    for kind in (1, 2):
        among = np.isin(labels, (0, kind))
        expected = sklearn.metrics.roc_auc_score(labels[among] == kind, scores[among])
        assert metrics[f"AUC, pixels, class {kind}"] == pytest.approx(expected)
    assert fields["baselines"] == {}


def test_without_validation_anomalies_principal_components_are_not_chosen():
    rng = np.random.default_rng(0)
    train, valid, test = (rng.normal(size=(n, 5)) * [5, 4, 3, 2, 1] for n in (60, 10, 40))
    anomalous = rng.random(40) < 0.4
    found = anomaly_baselines(train, valid, test + 2 * anomalous[:, None], np.zeros(10, bool), anomalous, 0)
    assert set(found) == {
        f"{name}, {by}" for name in ("AUC", "average precision") for by in ("isolation forest", "PCA")
    }
    # four of five, the most that leave an error
    pca = sklearn.decomposition.PCA(4).fit(train)
    x = test + 2 * anomalous[:, None]
    error = ((x - pca.inverse_transform(pca.transform(x))) ** 2).sum(1)
    assert found["AUC, PCA"] == pytest.approx(sklearn.metrics.roc_auc_score(anomalous, error))


def test_nothing_of_ganomaly_is_chosen_by_anomalies():
    """The best checkpoint is that of the least error on normal validation examples, not of the best test result."""
    data = source("digits")
    experiment = build(GANomalyConfig(held_out=4, width=2, baselines=False), data)
    assert isinstance(experiment.model, GANomaly) and experiment.model.monitor == ("pixel_error", "min")
    assert experiment.validation_metrics is None and experiment.host_metrics is None and experiment.metrics is None
    for before, after in zip(data, experiment.data, strict=True):
        label = before.arrays["label"]
        np.testing.assert_array_equal(after.arrays["x"], before.arrays["x"][label != 4])


def test_the_defaults_are_the_papers():
    faces = ArraySource(
        {"x": np.zeros((20, 32, 32, 3), np.uint8), "label": np.arange(20) % 2}, levels=256, num_classes=2
    )
    config = GANomalyConfig(baselines=False)
    model = build(config, Splits(faces, faces, faces)).model
    assert model.encoder.widths == (64, 128, 256) and model.decoder.widths == (256, 128, 64)
    assert model.decoder.start == (4, 4) and model.latent_dim == 100 and model.critic is None
    weights = (model.adversarial_weight, model.reconstruction_weight, model.latent_weight)
    assert weights == (1, 50, 1) and (config.learning_rate, config.b1, config.batch_size) == (2e-4, 0.5, 64)
