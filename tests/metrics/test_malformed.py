"""Metrics of arguments that are malformed."""

import inspect
import re
import warnings

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import metrics
from tests.malformed import examples, refused

KEY = jax.random.key(0)
SIZES = {"N": 8, "M": 9, "D": 4, "K": 3, "L": 2, "3": 3}
KINDS = ("tokens", "labels", "booleans", "logits")
TOKENS, LABELS, BOOLEANS, LOGITS = (f"{kind} " for kind in KINDS)


class Identity:
    name = "identity"

    def features(self, x):
        return x

    logits = features


# Axes of the array arguments of each metric, after the kind of values; others are given as they are.
ARGUMENTS = {
    metrics.active_units: {"means": "N L"},
    metrics.angle_agreement: {"angles": "N", "others": "N"},
    metrics.autocorrelation: {"x": "N H D", "lags": 2},
    metrics.autocorrelation_error: {"real": "N H D", "fake": "M H D", "lags": 2},
    metrics.average_precision: {"scores": "N", "anomalous": BOOLEANS + "N"},
    metrics.best_f1_threshold: {"scores": "N", "anomalous": BOOLEANS + "N"},
    metrics.bigram_divergences: {"real": TOKENS + "N L", "fake": TOKENS + "M L", "num_symbols": 3},
    metrics.birthday_duplicates: {"samples": "N ...", "threshold": 0.5},
    metrics.bleu: {"references": TOKENS + "N L", "candidates": TOKENS + "M L", "n": 2},
    metrics.choice_accuracy: {"right": "N R", "wrong": "N W"},
    metrics.class_histogram_divergence: {"real_logits": LOGITS + "N K", "fake_logits": LOGITS + "M K"},
    metrics.copied_n_grams: {"references": TOKENS + "N L", "samples": TOKENS + "M L", "n": 2},
    metrics.copied_sequences: {"references": TOKENS + "N L", "samples": TOKENS + "M L"},
    metrics.corpus_bleu: {"references": TOKENS + "N L", "candidates": TOKENS + "N L", "n": 2},
    metrics.data_bandwidth: {"x": "N ..."},
    metrics.density_coverage: {"real": "N ...", "fake": "M ..."},
    metrics.distinct_n_grams: {"samples": TOKENS + "N L", "n": 2},
    metrics.distance_ratio: {"real": "N ...", "fake": "M ..."},
    metrics.feature_metrics: {
        "real_features": "N D",
        "fake_features": "M D",
        "real_logits": LOGITS + "N K",
        "fake_logits": LOGITS + "M K",
        "key": KEY,
    },
    metrics.frechet_distance: {"real": "N ...", "fake": "M ..."},
    metrics.frechet_distance_of_moments: {
        "mean": "D",
        "covariance": "D D",
        "other_mean": "D",
        "other_covariance": "D D",
    },
    metrics.inception_score: {"logits": LOGITS + "N K"},
    metrics.kernel_distance: {"real": "N ...", "fake": "M ...", "key": KEY, "subsets": 2, "size": 4},
    metrics.measure: {"real": "N D", "fake": "M D", "extractor": Identity(), "key": KEY},
    metrics.mixture_metrics: {"real": "N D", "fake": "M D", "centers": "K D", "std": 1.0},
    metrics.mmd_squared: {"x": "N ...", "y": "M ..."},
    metrics.majority_modes: {"samples": "N D", "labels": LABELS + "N", "num_labels": 3, "centers": "K D"},
    metrics.mode_collisions: {"samples": "N D", "labels": LABELS + "N", "num_labels": 3, "centers": "K D"},
    metrics.mode_coverage: {"samples": "N D", "centers": "K D", "std": 1.0},
    metrics.laplacian_energy: {"x": "N H W C"},
    metrics.mode_score: {"real_logits": LOGITS + "N K", "fake_logits": LOGITS + "M K"},
    metrics.mutual_information: {"mean": "N L", "log_variance": "N L", "key": KEY},
    metrics.n_gram_jensen_shannon: {"real": TOKENS + "N L", "fake": TOKENS + "M L", "n": 2},
    metrics.nearest_colours: {"x": "N H W D", "palette": "K D"},
    metrics.nearest_distances: {"x": "N ..."},
    metrics.nearest_training_ratio: {"fake": "N ...", "train": "M ...", "held_out": "K ..."},
    metrics.one_nearest_neighbour: {"real": "N ...", "fake": "N ..."},
    metrics.oracle_metrics: {
        "samples": TOKENS + "N L", "oracle": "N L", "model": "N L", "oracle_of_data": "M L", "model_of_data": "M L",
    },
    metrics.perceptual_path_length: {"curve": lambda t: t[:, None], "t": "N"},
    metrics.precision_recall: {"scores": "N", "anomalous": BOOLEANS + "N", "threshold": 2.0},
    metrics.precision_recall_of_manifolds: {"real": "N ...", "fake": "M ..."},
    metrics.perplexity: {"log_probs": "N L", "mask": "N L"},
    metrics.pixel_diversity: {"samples": "N H W D", "picture": "H W D"},
    metrics.position_frechet_distances: {"real": "H W D", "fake": "N h w D"},
    metrics.psnr: {"x": "N ...", "reference": "N ...", "peak": 1.0},
    metrics.retrieval_accuracy: {"x": "N ...", "targets": "N ..."},
    metrics.reverse_kl_of_modes: {"samples": "N D", "centers": "K D", "probabilities": "K"},
    metrics.roc_auc: {"scores": "N", "anomalous": BOOLEANS + "N"},
    metrics.roc_curve: {"scores": "N", "anomalous": BOOLEANS + "N"},
    metrics.sample_distances: {"real": "N ...", "fake": "M ..."},
    metrics.segmentation_scores: {"predicted": LABELS + "N ...", "labels": LABELS + "N ...", "num_classes": 3},
    metrics.self_bleu: {"samples": TOKENS + "N L", "n": 2},
    metrics.sentence_bleu: {"candidates": TOKENS + "N L", "references": TOKENS + "N L", "end": None, "n": 2},
    metrics.sliced_wasserstein: {"x": "N ...", "y": "M ...", "key": KEY, "projections": 2},
    metrics.stacked_modes: {"labels": LABELS + "N 3", "reference": LABELS + "M 3", "num_classes": 3},
    metrics.total_correlation: {"mean": "N L", "log_variance": "N L", "key": KEY},
    metrics.wasserstein_1d: {"x": "N", "y": "M"},
    metrics.wasserstein_exact: {"x": "N ...", "y": "N ..."},
}
ON_THE_HOST = {
    metrics.bleu, metrics.choice_accuracy, metrics.copied_n_grams, metrics.copied_sequences, metrics.corpus_bleu,
    metrics.distinct_n_grams,
    metrics.feature_metrics, metrics.frechet_distance, metrics.frechet_distance_of_moments, metrics.measure,
    metrics.n_gram_jensen_shannon, metrics.oracle_metrics, metrics.position_frechet_distances, metrics.self_bleu,
    metrics.wasserstein_exact,
}  # fmt: skip
# The fewest rows, where one is not enough.
ROWS = {
    (metrics.active_units, "means"): 2,
    (metrics.birthday_duplicates, "samples"): 2,
    (metrics.data_bandwidth, "x"): 2,
    (metrics.density_coverage, "real"): 6,
    (metrics.distance_ratio, "real"): 2,
    (metrics.distance_ratio, "fake"): 2,
    (metrics.feature_metrics, "real_features"): 6,
    (metrics.feature_metrics, "fake_features"): 4,
    (metrics.frechet_distance, "real"): 2,
    (metrics.frechet_distance, "fake"): 2,
    (metrics.kernel_distance, "real"): 4,
    (metrics.kernel_distance, "fake"): 4,
    (metrics.mmd_squared, "x"): 2,
    (metrics.mmd_squared, "y"): 2,
    (metrics.nearest_distances, "x"): 2,
    (metrics.pixel_diversity, "samples"): 2,
    (metrics.precision_recall_of_manifolds, "real"): 4,
    (metrics.precision_recall_of_manifolds, "fake"): 4,
    (metrics.self_bleu, "samples"): 2,
}
ARRAYS = [(f, name) for f, kinds in ARGUMENTS.items() for name, kind in kinds.items() if isinstance(kind, str)]
NUMBERS = [(f, name) for f, name in ARRAYS if not ARGUMENTS[f][name].startswith((TOKENS, LABELS, BOOLEANS))]


def test_every_metric_is_tried():
    functions = {name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))}
    assert functions == {function.__name__ for function in ARGUMENTS} == set(metrics.__all__) - {"SampleMetrics"}


def well_formed(function):
    rng, given = np.random.default_rng(0), {}
    for name, kind in ARGUMENTS[function].items():
        if not isinstance(kind, str):
            given[name] = kind
            continue
        shape = tuple(SIZES.get(axis, 4) for axis in kind.split() if axis not in KINDS)
        if kind.startswith((TOKENS, LABELS)):
            given[name] = rng.integers(0, 3, shape)
        elif kind.startswith(BOOLEANS):
            given[name] = np.arange(shape[0]) % 2 == 0
        else:
            given[name] = rng.normal(size=shape).astype(np.float32)
    return given


def called(function, given):
    """The metric, of shapes alone where it is traced: nothing is compiled."""
    if function in ON_THE_HOST:
        return function(**given)
    return jax.eval_shape(lambda: function(**given))


def refused_naming(function, given, *names):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        said = refused(lambda: called(function, given))
    assert any(re.search(rf"\b{name}\b", said) for name in names), said
    return said


@pytest.mark.parametrize("function", [f for f in ARGUMENTS if f not in {metrics.feature_metrics, metrics.measure}])
def test_well_formed_arguments_are_taken(function):
    called(function, well_formed(function))


CHANGES = {
    "column": lambda value: value[..., None],
    "scalar": lambda value: value.flat[0],
    "empty": lambda value: value[:0],
    "no features": lambda value: value[..., :0],
    "one feature": lambda value: value[..., :1],
    "wider": lambda value: np.concatenate([value, value[..., :1]], -1),
}


@examples(150)
@hypothesis.given(st.sampled_from(ARRAYS), st.sampled_from(sorted(CHANGES)))
def test_other_shapes_are_refused_before_they_broadcast(where, change):
    function, name = where
    given, axes = well_formed(function), ARGUMENTS[function][name].split()
    others = [ARGUMENTS[f][n].split() for f, n in ARRAYS if f == function and n != name]
    tied = axes.count(axes[-1]) > 1 or any(axes[-1] in kind for kind in others)
    alone = change in ("empty", "no features", "scalar") or (change == "column" and axes[-1] != "...")
    hypothesis.assume(alone or tied)
    # sequences may be of any length, empty too
    hypothesis.assume(axes[0] != TOKENS.strip() or change in ("column", "scalar", "empty"))
    # several references of one token each
    hypothesis.assume((function, name, change) != (metrics.corpus_bleu, "references", "column"))
    given[name] = CHANGES[change](given[name])
    refused_naming(function, given, *(n for f, n in ARRAYS if f == function))


@examples(100)
@hypothesis.given(st.sampled_from(ARRAYS), st.sampled_from(["words", "objects", "complex", "ragged", "none", "a key"]))
def test_what_is_no_array_of_numbers_is_named(where, kind):
    function, name = where
    value = {
        "words": np.array(["a", "b", "c"]),
        "objects": np.array([{}, {}, {}]),
        "complex": np.ones((3, 2), complex),
        "ragged": [[1.0], [1.0, 2.0], [3.0]],
        "none": None,
        "a key": KEY,
    }[kind]
    if value is None and name in ("reference", "probabilities", "mask"):
        return
    refused_naming(function, {**well_formed(function), name: value}, name)


@pytest.mark.parametrize(("function", "name"), ROWS)
def test_too_few_rows_are_named(function, name):
    given = well_formed(function)
    least = ROWS[function, name]
    given = {n: v[: least - 1] if n == name or n == name.replace("features", "logits") else v for n, v in given.items()}
    said = refused_naming(function, given, name)
    assert str(least - 1) in said


@pytest.mark.parametrize("function", [metrics.one_nearest_neighbour, metrics.wasserstein_exact])
def test_sets_of_equally_many_rows_are_asked_for(function):
    given = well_formed(function)
    last = list(given)[-1]
    assert "8 and 7" in refused_naming(function, {**given, last: given[last][:-1]}, last)


@examples(120)
@hypothesis.given(st.sampled_from(NUMBERS), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_values_that_are_not_finite_are_named(where, value):
    """Outside of compiled code; logits may be -inf, scores infinite."""
    function, name = where
    given = well_formed(function)
    given[name].flat[-1] = value
    logits = ARGUMENTS[function][name].startswith(LOGITS)
    impossible = name == "model_of_data" and value == -np.inf
    if impossible or (logits and value == -np.inf) or (name == "scores" and np.isinf(value)):
        return
    names = (f"{name}_features",) if function is metrics.measure else (name,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        said = refused(lambda: function(**given))
    assert any(n in said for n in names), said


def test_traced_values_are_not_looked_into():
    """What is concrete inside of compiled code is looked into on the host."""
    known = jnp.ones((3, 2))
    assert not jnp.isfinite(jax.jit(lambda x: metrics.distance_ratio(known, x))(jnp.full((3, 2), jnp.nan)))
    broken = known * jnp.nan
    refused(lambda: jax.eval_shape(lambda x: metrics.distance_ratio(broken, x), known), "real")


def test_logits_of_impossible_classes_are_taken():
    logits = np.float32([[0, 0, -np.inf], [0, -np.inf, 0]])
    # p = (1/2, 1/2, 0) and (1/2, 0, 1/2) around (1/2, 1/4, 1/4)
    assert float(metrics.inception_score(logits)[0]) == pytest.approx(2**0.5, rel=1e-6)
    refused(lambda: metrics.inception_score(np.full((2, 3), -np.inf)), "logits")


@pytest.mark.parametrize("labels", [[[0, 1, 3]], [[0, -1, 2]], [[0.0, 1.0, 2.0]], [[0, 1]], [[0, 1, 2, 0]]])
def test_labels_that_are_no_three_classes_are_named(labels):
    """-1 was the last class, and 3 none at all."""
    refused(lambda: metrics.stacked_modes(np.array(labels), num_classes=3), "labels")
    refused(lambda: metrics.stacked_modes(np.array([[0, 1, 2]]), np.array(labels), num_classes=3), "reference")


OPTIONS = {
    ("threshold", 0): lambda v: metrics.active_units(np.ones((3, 2)), v),
    ("threshold ", 0): lambda v: metrics.birthday_duplicates(np.ones((3, 2)), v),
    ("bandwidth", 1e-9): lambda v: metrics.mmd_squared(np.ones((3, 2)), np.ones((3, 2)), v),
    ("std", 1e-9): lambda v: metrics.mode_coverage(np.ones((3, 2)), np.ones((3, 2)), v),
    ("radius", 0): lambda v: metrics.mode_coverage(np.ones((3, 2)), np.ones((3, 2)), 1.0, v),
    ("peak", 1e-9): lambda v: metrics.psnr(np.ones((3, 2)), np.ones((3, 2)), v),
    ("smoothing", 0): lambda v: metrics.bleu([[1]], [[1]], smoothing=v),
    ("n", 1): lambda v: metrics.bleu([[1]], [[1]], v),
    ("n ", 1): lambda v: metrics.self_bleu([[1], [1]], v),
    ("n  ", 1): lambda v: metrics.n_gram_jensen_shannon([[1]], [[1]], v),
    ("n   ", 1): lambda v: metrics.corpus_bleu([[1]], [[1]], v),
    ("n    ", 1): lambda v: metrics.distinct_n_grams([[1]], v),
    ("n     ", 1): lambda v: metrics.copied_n_grams([[1]], [[1]], v),
    ("num_symbols", 2): lambda v: metrics.bigram_divergences(np.zeros((9, 2), int), np.zeros((9, 2), int), v),
    ("k", 1): lambda v: metrics.density_coverage(np.ones((9, 2)), np.ones((9, 2)), v),
    ("k ", 1): lambda v: metrics.precision_recall_of_manifolds(np.ones((9, 2)), np.ones((9, 2)), v),
    ("size", 2): lambda v: metrics.kernel_distance(np.ones((9, 2)), np.ones((9, 2)), KEY, 2, v),
    ("subsets", 1): lambda v: metrics.kernel_distance(np.ones((9, 2)), np.ones((9, 2)), KEY, v, 2),
    ("projections", 1): lambda v: metrics.sliced_wasserstein(np.ones((9, 2)), np.ones((9, 2)), KEY, v),
    ("splits", 1): lambda v: metrics.inception_score(np.ones((9, 2)), v),
    ("num_classes", 1): lambda v: metrics.stacked_modes(np.zeros((9, 3), int), num_classes=v),
}


@examples(60)
@hypothesis.given(st.sampled_from(list(OPTIONS)), st.data())
def test_options_out_of_range_are_named(where, data):
    name, least = where
    value = data.draw(st.one_of(st.integers(-9, -1), st.just(float("nan")), st.just(least - 1)))
    refused(lambda: jax.eval_shape(lambda: OPTIONS[where](value)), name.strip())


@pytest.mark.parametrize("anomalous", [np.array([0, 1, 1]), np.array([0.0, 1.0, 1.0])])
def test_anomalies_are_booleans_and_the_remedy_is_named(anomalous):
    refused(lambda: metrics.roc_auc(np.ones(3), anomalous), "labels == 1")
    assert float(metrics.roc_auc([0.0, 1.0, 2.0], [False, True, True])) == 1


def test_a_column_of_thresholds_does_not_broadcast():
    scores, anomalous = np.arange(4.0), np.arange(4) > 1
    refused(lambda: metrics.precision_recall(scores, anomalous, np.ones((4, 1))), "threshold")


def test_figures_of_a_narrow_posterior_are_numbers():
    """exp(200) is infinite in float32, and infinity times zero once was not a number."""
    mean = jnp.arange(12.0).reshape(6, 2) ** 2
    narrow = jnp.full_like(mean, -200.0)
    both = jax.jit(lambda v: (metrics.mutual_information(mean, v, KEY), metrics.total_correlation(mean, v, KEY)))
    # six posteriors that do not overlap in either dimension: log 6 nats each
    np.testing.assert_allclose(both(narrow), np.log(6), rtol=1e-5)
