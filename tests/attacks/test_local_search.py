"""Local search against a loop over one image at a time, and the mistakes that are known of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from jaxgen.attacks import local_search
from tests.malformed import refused

KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
SHAPE = (6, 5, 2)
W = RNG.normal(size=(60, 4)).astype(np.float32)
X = RNG.uniform(0, 10, (5, *SHAPE)).astype(np.float32)
LIMITS = {"lower": 0.0, "upper": 10.0}


def classifier(x):
    """Images in [0, 10], with values beyond as they are scored."""
    h = x.reshape(len(x), -1) / 5 - 1
    return 0.1 * (h @ W + jnp.sin(3 * h) @ W[::-1])


LABELS = np.asarray(classifier(X).argmax(-1))


def by_loop(
    x, label, key, k=1, t=5, reach=5, p=10.0, ratio=1.5, max_rounds=150, rest=30, adaptive=True, probe=None,
    fraction=0.1,
):  # fmt: skip
    """The algorithm for one image, in the order of the paper."""
    height, width, _ = x.shape
    image = (x - 5) / 10
    start_key, key = jax.random.split(key)
    order = jax.random.permutation(start_key, height * width)
    candidates = sorted(np.asarray(order)[: int(np.ceil(fraction * (height * width)))].tolist())
    most = max(len(candidates), t * (2 * reach + 1) ** 2)
    first_p, rests_until, rounds, queries = p, {}, 0, 1

    def ask(image):
        return np.asarray(classifier(jnp.asarray(5 + 10 * image, jnp.float32)[None])[0])

    def fooled():
        values = ask(image)
        return label not in values.argsort()[::-1][:k]

    while not fooled() and rounds < max_rounds:
        awake = [c for c in range(height * width) if rests_until.get(c, 0) <= rounds]
        priority = np.asarray(jax.random.uniform(jax.random.fold_in(key, rounds), (height * width,)))
        others = sorted(awake, key=lambda c: -priority[c])[:most]
        candidates = [c for c in candidates if c in awake] or others
        scores = []
        for c in candidates:
            trial = image.copy()
            pixel = trial[c // width, c % width]
            near = 1.5 * pixel - np.where(np.abs(1.5 * pixel) > 0.5, np.sign(pixel), 0)
            trial[c // width, c % width] = near if probe == "change" else p * np.sign(pixel)
            scores.append(softmax(ask(trial))[label])
        queries += len(candidates) + 1
        best = [candidates[i] for i in np.argsort(scores, kind="stable")[:t]]
        for c in best:
            for channel in range(image.shape[-1]):
                value = ratio * image[c // width, c % width, channel]
                value = value - 1 if value > 0.5 else value + 1 if value < -0.5 else value
                image[c // width, c % width, channel] = value
            rests_until[c] = rounds + 1 + rest
        candidates = [
            c for c in range(height * width)
            if any(abs(c // width - b // width) <= reach and abs(c % width - b % width) <= reach for b in best)
        ]  # fmt: skip
        if adaptive and scores:
            p *= 2 if np.mean(scores) > 0.9 else 0.5 if np.mean(scores) < 0.3 else 1
            p = min(max(p, first_p / 8), 8 * first_p)
        rounds += 1
    return 5 + 10 * image, fooled(), (np.abs((x - 5) / 10 - image) > 1e-6).any(-1).sum(), queries, rounds


@pytest.mark.slow
@pytest.mark.parametrize(
    "ours, theirs",
    [
        ({}, {}),
        (
            {"pixels_per_round": 2, "reach": 1, "rest": 2, "max_rounds": 15},
            {"t": 2, "reach": 1, "rest": 2, "max_rounds": 15},
        ),
        ({"pixels_per_round": 3, "reach": 1, "p": 0.6, "adaptive": False, "k": 2},
         {"t": 3, "reach": 1, "p": 0.6, "adaptive": False, "k": 2}),
        ({"probe": "change"}, {"probe": "change"}),
        ({"pixels_per_round": 2, "reach": 0, "rest": 0, "max_rounds": 7, "ratio": 1.9},
         {"t": 2, "reach": 0, "rest": 0, "max_rounds": 7, "ratio": 1.9}),
    ],
    ids=["the paper's", "few pixels", "top two", "changes", "the same pixels"],
)  # fmt: skip
def test_the_search_of_each_image(ours, theirs):
    found = jax.jit(lambda x, key: local_search(classifier, x, key, **ours, **LIMITS))(X, KEY)
    expected = [by_loop(*each, **theirs) for each in zip(X, LABELS, jax.random.split(KEY, len(X)), strict=True)]
    images, success, pixels, queries, rounds = map(np.array, zip(*expected, strict=True))
    np.testing.assert_array_equal(found.rounds, rounds)
    np.testing.assert_array_equal(found.queries, queries)
    np.testing.assert_array_equal(found.success, success)
    np.testing.assert_array_equal(found.pixels, pixels)
    np.testing.assert_allclose(found.x, images, atol=1e-4)
    assert rounds.max() > 1


def test_a_round_changes_the_pixels_that_lower_the_probability_most_and_wraps_around():
    found = local_search(
        classifier, X, KEY, start_fraction=1.0, pixels_per_round=3, max_rounds=1, p=1.0, k=4, **LIMITS
    )
    image = (X - 5) / 10
    scores = np.zeros((5, 30))
    for i in range(30):
        trial = image.copy()
        trial[:, i // 5, i % 5] = np.sign(trial[:, i // 5, i % 5])
        logits = np.asarray(classifier(jnp.asarray(5 + 10 * trial)))
        scores[:, i] = softmax(logits, -1)[range(5), LABELS]
    changed = np.zeros((5, 30), bool)
    np.put_along_axis(changed, scores.argsort(-1)[:, :3], True, -1)
    changed = changed.reshape(5, 6, 5, 1)
    expected = 1.5 * image
    expected = np.where(expected > 0.5, expected - 1, np.where(expected < -0.5, expected + 1, expected))
    np.testing.assert_allclose(found.x, np.where(changed, 5 + 10 * expected, X), atol=1e-4)
    # a clipped value would be at a border, a wrapped one is not
    wrapped = (np.abs(1.5 * image) > 0.5) & changed
    assert wrapped.any() and (found.x[wrapped] > 1e-3).all() and (found.x[wrapped] < 10 - 1e-3).all()
    assert (found.queries == 32).all() and (found.pixels == 3).all() and not found.success.any()


def test_black_and_white_pixels_are_better_scored_by_their_changes():
    """Whose wrapped values lie on the other side of the pixel than the extreme ones: a linear classifier shows it."""
    x = np.where(RNG.random((8, *SHAPE)) < 0.5, 0.0, 10.0).astype(np.float32)

    def plain(x):
        return 0.1 * (x.reshape(len(x), -1) / 5 - 1) @ W

    def first_round(probe):
        found = local_search(plain, x, KEY, max_rounds=1, k=4, start_fraction=1.0, probe=probe, **LIMITS)
        label = np.asarray(plain(x).argmax(-1))
        before, after = (softmax(np.asarray(plain(v)), -1)[range(8), label] for v in (x, np.asarray(found.x)))
        return (after - before).mean()

    assert first_round("change") < 0 < first_round("extreme")


def test_what_is_not_changed_is_the_same_to_the_last_bit():
    found = local_search(classifier, X, KEY, max_rounds=2, reach=1, **LIMITS)
    changed = (np.asarray(found.x) != X).any(-1).sum((1, 2))
    np.testing.assert_array_equal(changed, found.pixels)
    assert found.x.min() >= 0 and found.x.max() <= 10 and 0 < found.pixels.max() < 30


def test_an_image_that_is_classified_otherwise_is_left_alone():
    """With one query, which tells."""
    found = local_search(classifier, X, KEY, labels=(LABELS + 1) % 4, **LIMITS)
    np.testing.assert_array_equal(found.x, X)
    assert found.success.all() and (found.queries == 1).all() and not found.pixels.any() and not found.rounds.any()
    assert (local_search(classifier, X, KEY, labels=LABELS, **LIMITS).rounds > 0).all()


def test_few_candidates_ask_fewer_queries():
    given = {"max_rounds": 4, "k": 4, "start_fraction": 1.0, **LIMITS}
    found = local_search(classifier, X, KEY, max_candidates=6, **given)
    assert (found.queries == 1 + 4 * 7).all() and (found.pixels > 5).all()
    other = local_search(classifier, X, jax.random.key(4), max_candidates=6, **given)
    assert (np.asarray(found.x) != np.asarray(other.x)).any()
    assert (local_search(classifier, X, KEY, **given).queries > found.queries).all()


@pytest.mark.slow
def test_images_side_by_side_or_one_after_another():
    one = local_search(classifier, X, KEY, **LIMITS)
    two = local_search(classifier, X, KEY, batch_size=2, **LIMITS)
    np.testing.assert_allclose(one.x, two.x, atol=1e-5)
    for name in ("success", "pixels", "queries", "rounds"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_what_does_not_fit_is_refused():
    refused(lambda: local_search(classifier, X[..., 0], KEY, **LIMITS), "`x` must be images [B, H, W, C]")
    refused(lambda: local_search(classifier, X, KEY, lower=0.0, upper=1.0), "`x` must be in [0, 1]")
    refused(lambda: local_search(classifier, X, KEY, ratio=3.0, **LIMITS), "`ratio` must be at least 0 and at most 2")
    refused(lambda: local_search(classifier, X, KEY, labels=LABELS + 4, **LIMITS), "`labels`")
    refused(lambda: local_search(classifier, X, KEY, k=0, **LIMITS), "`k`")
    refused(lambda: local_search(classifier, X, KEY, p=0.0, **LIMITS), "`p` must be above 0")
    refused(lambda: local_search(classifier, X, KEY, probe="near", **LIMITS), "`probe` must be 'extreme' or 'change'")
