import dataclasses
import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import metrics
from jaxgen.metrics import feature_metrics, measure, report

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
# as few features as rows are not too few rows
REAL, FAKE = np.float32(RNG.normal(size=(40, 4))), np.float32(RNG.normal(0.5, 0.5, size=(30, 4)))
REAL_LOGITS, FAKE_LOGITS = RNG.normal(size=(40, 3)), 3 * RNG.normal(size=(30, 3))


@pytest.fixture(scope="module")
def figures():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return feature_metrics(REAL, FAKE, REAL_LOGITS, FAKE_LOGITS, KEY)


@jax.jit
def one_by_one(key):
    """Each figure by its own function, real rows first."""
    bandwidth = metrics.data_bandwidth(REAL)
    near = jnp.quantile(metrics.nearest_distances(REAL), 0.01)
    kernel, std = metrics.kernel_distance(REAL, FAKE, key, size=15)
    return {
        "kernel_distance": kernel,
        "kernel_distance_std": std,
        "sliced_wasserstein": metrics.sliced_wasserstein(REAL, FAKE, key, 200),
        "mmd_squared": metrics.mmd_squared(REAL, FAKE, bandwidth),
        "mmd_squared_biased": metrics.mmd_squared(REAL, FAKE, bandwidth, biased=True),
        **metrics.one_nearest_neighbour(REAL[:30], FAKE),
        **metrics.precision_recall_of_manifolds(REAL, FAKE, k=3),
        **metrics.density_coverage(REAL, FAKE, k=5),
        "duplicate_pairs": metrics.birthday_duplicates(FAKE, near)["pairs"],
        "distance_ratio": metrics.distance_ratio(REAL, FAKE),
        "inception_score": metrics.inception_score(FAKE_LOGITS)[0],
        "mode_score": metrics.mode_score(REAL_LOGITS, FAKE_LOGITS),
        "class_histogram_divergence": metrics.class_histogram_divergence(REAL_LOGITS, FAKE_LOGITS),
    }


@pytest.mark.slow
def test_each_figure_is_that_of_its_function_real_rows_first(figures):
    expected = {name: float(value) for name, value in one_by_one(jax.random.key(1)).items()} | {
        "frechet_distance": metrics.frechet_distance(REAL, FAKE),
        "wasserstein_exact": metrics.wasserstein_exact(REAL[:30], FAKE),
    }
    assert set(figures) == set(expected) and all(type(value) is float for value in figures.values())
    # what depends on the key, which is another here, is near
    near = {
        "kernel_distance": 0.5 * expected["kernel_distance_std"],
        "kernel_distance_std": 0.4 * expected["kernel_distance_std"],
        "sliced_wasserstein": 0.25 * expected["sliced_wasserstein"],
    }
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, rel=1e-3, abs=near.get(name, 1e-5)), name


def test_fewer_rows_than_features_are_warned_of(monkeypatch):
    monkeypatch.setattr(report, "_on_device", lambda *args: {})
    wide = np.float32(RNG.normal(size=(40, 31)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        feature_metrics(wide[:, :30], wide[:30, :30], REAL_LOGITS, FAKE_LOGITS, KEY)
    with pytest.warns(UserWarning, match="30 samples are too few for the covariance of 31 features") as caught:
        feature_metrics(wide, wide[:30], REAL_LOGITS, FAKE_LOGITS, KEY)
    assert caught[0].filename == __file__


class Linear:
    """An extractor of the first features, with classes of the last."""

    name = "linear sha256:0"

    def features(self, x):
        return x[:, :4]

    def logits(self, x):
        return x[:, 4:]


def test_a_measurement_says_what_it_is_of(figures):
    real, fake = np.concatenate([REAL, REAL_LOGITS], 1), np.concatenate([FAKE, FAKE_LOGITS], 1)
    measured = measure(real, fake, Linear(), KEY, split="valid")
    assert (measured.num_real, measured.num_fake) == (40, 30)
    assert (measured.extractor, measured.split) == ("linear sha256:0", "valid")
    assert measured.metrics == pytest.approx(figures, rel=1e-4)
    assert json.loads(json.dumps(dataclasses.asdict(measured)))["metrics"] == measured.metrics
    with pytest.raises(dataclasses.FrozenInstanceError):
        measured.split = "test"


@pytest.mark.slow
def test_figures_on_a_schedule_are_those_of_their_functions_in_compiled_code():
    rng = np.random.default_rng(5)
    real, fake = (jnp.asarray(rng.normal(m, 1, (n, 3)), jnp.float32) for m, n in ((0, 40), (0.7, 30)))
    found = jax.jit(report.quick_metrics)(real, fake, jax.random.key(0))
    kernel = metrics.kernel_distance(real, fake, jax.random.key(0), size=15)[0]
    others = {**metrics.precision_recall_of_manifolds(real, fake), **metrics.density_coverage(real, fake)}
    assert set(found) == {"kernel_distance", *others}
    assert found["kernel_distance"] == pytest.approx(float(kernel), rel=1e-4)
    assert others["precision"] != others["recall"]
    for name, value in others.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-5)
