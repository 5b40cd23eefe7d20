"""DeepFool against its closed form and a loop over examples, the universal perturbation against the loop of the
paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.attacks import deep_fool, fooling_rate, universal_perturbation
from tests.malformed import refused

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
W = RNG.normal(size=(8, 4)).astype(np.float32)
HIDDEN = RNG.normal(size=(8, 12)).astype(np.float32)
X = RNG.uniform(-1, 1, (20, 2, 4)).astype(np.float32)
LIMITS = {"lower": -1.0, "upper": 1.0}


def linear(x):
    return x.reshape(len(x), -1) @ W


def curved(x):
    return jnp.tanh(x.reshape(len(x), -1) @ HIDDEN) @ HIDDEN[:4].T


def by_loop(classifier, x, max_steps, overshoot=0.02, num_classes=10, limits=(-np.inf, np.inf)):
    """DeepFool of one example, class by class."""
    first = np.asarray(classifier(x[None])[0])
    order = first.argsort()[::-1][:num_classes]
    r, at, steps = np.zeros_like(x), x, 0
    while steps < max_steps and int(classifier(at[None])[0].argmax()) == order[0]:
        values = np.asarray(classifier(at[None])[0])
        jacobian = np.asarray(jax.jacobian(lambda y: classifier(y[None])[0])(jnp.asarray(at)))
        best = None
        for k in order[1:]:
            w, f = jacobian[k] - jacobian[order[0]], values[k] - values[order[0]]
            distance = abs(f) / np.linalg.norm(w)
            if best is None or distance < best[0]:
                best = distance, distance * w / np.linalg.norm(w)
        r, steps = r + best[1], steps + 1
        at = np.clip(x + (1 + overshoot) * r, *limits)
    return at - x


def test_of_a_linear_classifier_the_shortest_way_to_another_class():
    r = np.asarray(jax.jit(lambda x: deep_fool(linear, x))(X))
    values = linear(X)
    label = values.argmax(-1)
    normals = W[:, None, :] - W[:, label][:, :, None]  # [8, B, 4]
    lengths = np.sqrt((normals**2).sum(0))
    distances = np.where(
        lengths > 0, (values.max(-1, keepdims=True) - values) / np.where(lengths > 0, lengths, 1), np.inf
    )
    np.testing.assert_allclose(np.sqrt((r**2).sum((1, 2))), 1.02 * distances.min(-1), rtol=1e-3)
    assert (linear(X + r).argmax(-1) != label).all() and (linear(X + 0.97 * r).argmax(-1) == label).all()


@pytest.mark.parametrize("max_steps, num_classes", [(10, 10), (1, 10), (10, 2)])
def test_every_example_goes_its_own_way(max_steps, num_classes):
    given = {"max_steps": max_steps, "num_classes": num_classes}
    found = jax.jit(lambda x: deep_fool(curved, x, **given))(X)
    expected = np.stack([by_loop(curved, x, **given) for x in X])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    inside = np.asarray(deep_fool(curved, X, **LIMITS, **given))
    expected = np.stack([by_loop(curved, x, limits=(-1, 1), **given) for x in X])
    np.testing.assert_allclose(inside, expected, rtol=1e-3, atol=1e-5)
    assert np.abs(X + inside).max() <= 1 + 1e-6 < np.abs(X + found).max()
    if (max_steps, num_classes) == (10, 10):
        assert (curved(X + found).argmax(-1) != curved(X).argmax(-1)).mean() > 0.9


def test_a_flat_classifier_leaves_inputs_as_they_are():
    r = deep_fool(lambda x: jnp.zeros((len(x), 3)) * x.sum() + jnp.float32([0, 1, 0]), X)
    np.testing.assert_array_equal(r, np.zeros_like(X))


@pytest.mark.parametrize("norm, radius", [("linf", 0.3), ("l2", 0.8)])
def test_the_loop_of_the_paper(norm, radius):
    passes = 2
    some = np.float32(0.69) * X[:12]  # of which few meet the limits, where DeepFool ends on the border between classes
    find = jax.jit(
        lambda x: universal_perturbation(
            curved, x, radius, KEY, norm=norm, target_rate=1.0, max_passes=passes, overshoot=0.3, batch_size=8, **LIMITS
        )
    )
    found, v = find(some), np.zeros((2, 4), np.float32)
    label = np.asarray(curved(some).argmax(-1))
    for i in range(passes):
        for j in np.asarray(jax.random.permutation(jax.random.fold_in(KEY, i), len(some))):
            y = np.clip(some[j] + v, -1, 1)
            if int(curved(y[None])[0].argmax()) == label[j]:
                r = by_loop(curved, y, 10, 0.3, limits=(-1, 1))
                if int(curved((y + r)[None])[0].argmax()) != label[j]:
                    v = v + r
                    v = np.clip(v, -radius, radius) if norm == "linf" else v * min(1, radius / np.linalg.norm(v))
    np.testing.assert_allclose(found.perturbation, v, rtol=1e-3, atol=1e-4)
    rate = (np.asarray(curved(np.clip(some + v, -1, 1)).argmax(-1)) != label).mean()
    assert found.passes == passes and float(found.fooling_rate) == pytest.approx(rate) and 0 < rate < 1
    assert float(fooling_rate(curved, some, found.perturbation, batch_size=6, **LIMITS)) == pytest.approx(rate)


def test_it_ends_at_the_target_rate():
    """A direction away from one class for all: far more than random signs of the same size."""

    def two(x):
        return jnp.stack([x.reshape(len(x), -1) @ W[:, 0] + 1, jnp.zeros(len(x))], -1)

    x = X[np.asarray(two(X).argmax(-1)) == 0]
    found = universal_perturbation(two, x, 0.5, KEY, target_rate=0.5, **LIMITS)
    assert found.fooling_rate >= 0.5 and found.passes <= 2
    signs = 0.5 * np.sign(RNG.normal(size=(30, 2, 4))).astype(np.float32)
    random = np.mean([fooling_rate(two, x, v, **LIMITS) for v in signs])
    assert found.fooling_rate > random + 0.2


def test_what_does_not_fit_is_refused():
    refused(lambda: universal_perturbation(linear, X, 10.0, KEY, **LIMITS), "`radius` must be above 0 and at most 2")
    refused(lambda: universal_perturbation(linear, 9 * X, 0.1, KEY, **LIMITS), "`x` must be in [-1, 1]")
    refused(lambda: universal_perturbation(linear, X, 0.1, KEY, target_rate=80, **LIMITS), "`target_rate`")
    refused(lambda: deep_fool(linear, X, num_classes=1), "`num_classes`")
    refused(lambda: fooling_rate(lambda x: linear(x)[:2], X, X[0], **LIMITS), "classifier(x) must be logits [20, K]")
