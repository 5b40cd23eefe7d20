"""Gradient attacks against closed forms of linear classifiers, and the mistakes that are known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.special import softmax

from jaxgen.attacks import fgsm, project, projected_gradient
from jaxgen.attacks.inputs import uniform_in_ball
from tests.malformed import refused

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
W = RNG.normal(size=(12, 3)).astype(np.float32)
HIDDEN = RNG.normal(size=(12, 20)).astype(np.float32)
X = RNG.uniform(-0.9, 0.9, (7, 2, 6)).astype(np.float32)
LIMITS = {"lower": -1.0, "upper": 1.0}


def linear(x):
    return x.reshape(len(x), -1) @ W


def curved(x):
    return jnp.sin(x.reshape(len(x), -1) @ HIDDEN) @ (HIDDEN.T @ W)


def slopes(x, labels):
    """The gradient of the cross-entropy of a linear classifier: W (p - one_hot(label))."""
    return ((softmax(linear(x), -1) - np.eye(3)[labels]) @ W.T).reshape(x.shape)


def test_the_sign_of_the_gradient_of_the_predicted_label():
    predicted = linear(X).argmax(-1)
    expected = np.clip(X + 0.3 * np.sign(slopes(X, predicted)), -1, 1)
    found = jax.jit(lambda x: fgsm(linear, x, 0.3, **LIMITS))(X)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (np.abs(expected) == 1).any() and (np.abs(expected) < 1).any()


def test_the_true_label_is_not_used_unless_it_is_given():
    """Where the classifier is wrong, true labels make the attack correct it."""
    predicted = linear(X).argmax(-1)
    wrong = (predicted + 1) % 3
    found, told = fgsm(linear, X, 0.3, **LIMITS), fgsm(linear, X, 0.3, labels=wrong, **LIMITS)
    np.testing.assert_allclose(told, np.clip(X + 0.3 * np.sign(slopes(X, wrong)), -1, 1), atol=1e-6)
    probability = [softmax(linear(x), -1)[range(7), predicted] for x in (np.asarray(found), X, np.asarray(told))]
    assert (probability[0] < probability[1]).all() and (probability[1] < probability[2]).any()


def test_targets_are_approached():
    targets = (linear(X).argmax(-1) + 1) % 3
    found = fgsm(linear, X, 0.3, targets=targets, **LIMITS)
    np.testing.assert_allclose(found, np.clip(X - 0.3 * np.sign(slopes(X, targets)), -1, 1), atol=1e-6)
    strong = projected_gradient(linear, X, 0.3, KEY, targets=targets, **LIMITS)
    before, after, end = (softmax(linear(np.asarray(x)), -1)[range(7), targets] for x in (X, found, strong))
    assert (before < after).all() and (end >= after - 1e-6).all()


def test_a_step_from_the_input_itself_is_the_fast_gradient_sign():
    step = projected_gradient(curved, X, 0.2, KEY, steps=1, random_start=False, **LIMITS)
    np.testing.assert_array_equal(step, fgsm(curved, X, 0.2, **LIMITS))


def test_epsilon_is_in_the_units_of_the_inputs():
    """The same attack in other units: grey levels 0 to 255."""
    grey = jnp.asarray((X + 1) * 127.5)
    found = fgsm(lambda x: linear(x / 127.5 - 1), grey, 0.3 * 127.5, lower=0.0, upper=255.0)
    np.testing.assert_allclose(found / 127.5 - 1, fgsm(linear, X, 0.3, **LIMITS), atol=1e-5)
    found = projected_gradient(
        lambda x: linear(x / 127.5 - 1), grey, 0.3 * 127.5, KEY, norm="l2", lower=0.0, upper=255.0
    )
    expected = projected_gradient(linear, X, 0.3, KEY, norm="l2", **LIMITS)
    np.testing.assert_allclose(found / 127.5 - 1, expected, atol=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_points_stay_in_the_ball_and_in_the_range_and_raise_the_loss(norm):
    x = np.clip(3 * X, -1, 1)  # many values on the borders
    size = 0.3 if norm == "linf" else 1.0
    attack = jax.jit(lambda x, key: projected_gradient(curved, x, size, key, norm=norm, steps=20, **LIMITS))
    found = np.asarray(attack(x, KEY))
    length = np.abs(found - x).max((1, 2)) if norm == "linf" else np.sqrt(((found - x) ** 2).sum((1, 2)))
    assert found.min() >= -1 and found.max() <= 1 and (length <= size + 1e-5).all() and length.max() > 0.9 * size
    predicted = np.asarray(curved(x)).argmax(-1)

    def loss(y):
        return -np.log(softmax(np.asarray(curved(jnp.asarray(y))), -1)[range(7), predicted])

    if norm == "linf":
        assert loss(found).mean() > loss(np.asarray(fgsm(curved, x, size, **LIMITS))).mean()
    assert (loss(found) > loss(x)).all()
    # another start, another end
    assert np.abs(np.asarray(attack(x, jax.random.key(1))) - found).max() > 1e-3


def test_in_l2_the_end_is_where_the_normal_of_two_classes_leaves_the_ball():
    def two(x):
        return linear(x)[:, :2]

    predicted = two(X).argmax(-1)
    normal = np.where(predicted[:, None], W[:, 0] - W[:, 1], W[:, 1] - W[:, 0]).reshape(X.shape)
    expected = X + 0.05 * normal / np.sqrt((normal**2).sum((1, 2), keepdims=True))
    found = projected_gradient(two, X, 0.05, KEY, norm="l2", step_size=0.5, **LIMITS)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_rows_do_not_see_each_other():
    """Neither by a mean over the batch, which would scale the gradient, nor by a common norm."""
    for norm in ("linf", "l2"):
        together = projected_gradient(curved, X, 0.3, KEY, norm=norm, random_start=False, steps=3, **LIMITS)
        alone = projected_gradient(curved, X[2:3], 0.3, KEY, norm=norm, random_start=False, steps=3, **LIMITS)
        np.testing.assert_allclose(together[2:3], alone, atol=1e-4)


def test_projections_are_the_nearest_points():
    x = 3 * X
    np.testing.assert_array_equal(project(x, 0.7), np.clip(x, -0.7, 0.7))
    lengths = np.sqrt((x**2).sum((1, 2)))
    radius = float(np.median(lengths))
    expected = x * np.minimum(1, radius / lengths)[:, None, None]
    np.testing.assert_allclose(project(x, radius, "l2"), expected, rtol=1e-5)
    slope = jax.grad(lambda x: project(x, 1.0, "l2").sum())(jnp.zeros((2, 3)))
    np.testing.assert_array_equal(slope, np.ones((2, 3)))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_are_uniform_in_the_ball(norm):
    """The volume within a radius is uniform, and no direction is preferred."""
    points = np.asarray(uniform_in_ball(KEY, jnp.zeros((4000, 3)), 2.0, norm))
    radii = np.abs(points).max(-1) if norm == "linf" else np.sqrt((points**2).sum(-1))
    assert scipy.stats.kstest((radii / 2) ** 3, "uniform").pvalue > 1e-3
    assert np.abs(points.mean(0)).max() < 0.1


def test_what_does_not_fit_is_refused():
    refused(lambda: fgsm(linear, 255 * X, 0.1, **LIMITS), "`x` must be in [-1, 1]")
    refused(lambda: fgsm(linear, X, 16, **LIMITS), "`epsilon` must be above 0 and at most 2, got 16")
    refused(lambda: fgsm(linear, X, 0.1, lower=1.0, upper=-1.0), "`upper`")
    refused(lambda: fgsm(linear, X, 0.1, labels=np.full(7, 3), **LIMITS), "`labels`", "from 0 to 2")
    refused(lambda: fgsm(linear, X, 0.1, labels=np.zeros(6, int), **LIMITS), "`labels`")
    labels = np.zeros(7, int)
    refused(lambda: fgsm(linear, X, 0.1, labels=labels, targets=labels, **LIMITS), "`labels` and `targets`")
    refused(lambda: fgsm(lambda x: linear(x)[:, 0], X, 0.1, **LIMITS), "`logits` must have shape [B, K]")
    refused(lambda: projected_gradient(linear, X, 0.1, KEY, norm="l1", **LIMITS), "`norm` must be 'linf' or 'l2'")
    refused(lambda: projected_gradient(linear, X, 0.1, KEY, steps=0, **LIMITS), "`steps`")
    refused(lambda: projected_gradient(linear, X, 0.1, KEY, step_size=0.0, **LIMITS), "`step_size`")
    refused(lambda: project(X, -1.0), "`radius` must be above 0")
