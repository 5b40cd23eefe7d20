"""Figures of detection, against scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn

from jaxgen.metrics.detection import average_precision, best_f1_threshold, precision_recall, roc_auc, roc_curve


def rows(ties, n=500):
    """Scores of few different values, or of as many as there are rows; anomalies score higher on average."""
    rng = np.random.default_rng(0)
    anomalous = rng.random(n) < 0.3
    scores = rng.normal(size=n) + anomalous
    return jnp.array(np.round(scores * 2) if ties else scores, jnp.float32), jnp.array(anomalous)


@pytest.mark.slow
@pytest.mark.parametrize("ties", [False, True])
def test_areas_are_those_of_scikit_learn(ties):
    scores, anomalous = rows(ties)
    assert len(np.unique(scores)) == 500 or ties and len(np.unique(scores)) < 20
    np.testing.assert_allclose(jax.jit(roc_auc)(scores, anomalous), sklearn.roc_auc_score(anomalous, scores), rtol=1e-6)
    expected = sklearn.average_precision_score(anomalous, scores)
    np.testing.assert_allclose(jax.jit(average_precision)(scores, anomalous), expected, rtol=1e-6)


def test_areas_of_four_rows_by_hand():
    # of four pairs one is tied and three are lost
    scores, anomalous = jnp.array([1.0, 0.0, 1.0, 2.0]), jnp.array([True, True, False, False])
    assert roc_auc(scores, anomalous) == pytest.approx(0.5 / 4)
    assert average_precision(scores, anomalous) == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert roc_auc(-scores, anomalous) == pytest.approx(3.5 / 4)
    # equal scores tell nothing, in whatever order the rows come
    same = jnp.zeros(4)
    for order in (anomalous, anomalous[::-1]):
        assert roc_auc(same, order) == 0.5 and average_precision(same, order) == 0.5


@pytest.mark.parametrize("ties", [False, True])
def test_precision_and_recall_at_a_threshold_that_a_score_equals(ties):
    scores, anomalous = rows(ties)
    threshold = float(jnp.sort(scores)[350])
    called = np.asarray(scores) >= threshold
    assert (np.asarray(scores) == threshold).any()
    precision, recall = precision_recall(scores, anomalous, threshold)
    np.testing.assert_allclose(precision, sklearn.precision_score(anomalous, called), rtol=1e-6)
    np.testing.assert_allclose(recall, sklearn.recall_score(anomalous, called), rtol=1e-6)


def test_where_nothing_is_called_anomalous_nothing_is_found():
    scores, anomalous = rows(False)
    assert precision_recall(scores, anomalous, 99.0) == (0, 0)


@pytest.mark.parametrize("ties", [False, True])
def test_no_threshold_has_a_greater_f1(ties):
    scores, anomalous = rows(ties)
    chosen = best_f1_threshold(scores, anomalous)
    found = {float(s): sklearn.f1_score(anomalous, np.asarray(scores) >= s) for s in np.unique(scores)}
    assert float(chosen) in found and found[float(chosen)] == max(found.values())


@pytest.mark.parametrize("ties", [False, True])
def test_the_curve_goes_through_the_points_of_scikit_learn(ties):
    scores, anomalous = rows(ties)
    counts = np.array([[(~anomalous).sum()], [anomalous.sum()]])
    expected = np.rint(counts * sklearn.roc_curve(anomalous, scores, drop_intermediate=False)[:2])
    curve = np.asarray(roc_curve(scores, anomalous))
    np.testing.assert_allclose(counts * curve, np.rint(counts * curve), atol=1e-3)
    assert curve.shape == (2, 501) and (np.diff(curve) >= 0).all()
    assert curve[:, 0].tolist() == [0, 0] and curve[:, -1].tolist() == [1, 1]
    assert {tuple(point) for point in np.rint(counts * curve).T} == {tuple(point) for point in expected.T}
    area = np.trapezoid(curve[1], curve[0])
    np.testing.assert_allclose(area, roc_auc(scores, anomalous), rtol=1e-5)


def test_integers_in_place_of_booleans_are_refused():
    # ~1 is -2: it would count without an error
    with pytest.raises(TypeError, match="`anomalous` must be booleans"):
        roc_auc(jnp.zeros(2), jnp.array([0, 1]))
