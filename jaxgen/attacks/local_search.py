"""A black-box attack that changes few pixels, by local search on the classifier's probabilities."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import check_counts, check_number
from jaxgen.attacks.inputs import Classifier, as_inputs, as_labels, logits_of
from jaxgen.contracts import Array, Key

CONFIDENT, UNSURE = 0.9, 0.3
"""Mean probabilities of the label above which p grows and below which it shrinks."""
FACTOR, MOST = 2.0, 8.0
"""The factor of each change of p, and of all of them together."""


class LocalSearch(NamedTuple):
    """The result of `local_search`, for each image.

    Attributes:
        x: the images with the changed pixels, [B, H, W, C].
        success: whether the label has left the `k` most probable ones, [B].
        pixels: number of changed pixels (all channels of a pixel count as one), [B].
        queries: number of images that the classifier was asked about, [B].
        rounds: number of rounds, [B].
    """

    x: Array
    success: Array
    pixels: Array
    queries: Array
    rounds: Array


class _State(NamedTuple):
    image: Array  # [P, C] in [-1/2, 1/2]
    candidates: Array  # [P], the pixels near those that were changed last
    rests_until: Array  # [P], the round from which a pixel may be changed again
    p: Array
    success: Array
    queries: Array
    rounds: Array


def local_search(
    classifier: Classifier,
    x: Array,
    key: Key,
    *,
    lower: float,
    upper: float,
    labels: Array | None = None,
    k: int = 1,
    pixels_per_round: int = 5,
    reach: int = 5,
    p: float = 10.0,
    ratio: float = 1.5,
    max_rounds: int = 150,
    rest: int = 30,
    start_fraction: float = 0.1,
    adaptive: bool = True,
    probe: Literal["extreme", "change"] = "extreme",
    max_candidates: int | None = None,
    batch_size: int | None = None,
) -> LocalSearch:
    """Changes a few pixels until the label is not among the k most probable ones, from probabilities alone.

    In units where [lower, upper] is [-1/2, 1/2], and I is the image so far, each round

    1. asks for the probability of the label with a candidate pixel set to p sign(I) in all channels, one at a time;
    2. multiplies the `pixels_per_round` pixels with the lowest probabilities by `ratio`, where values that leave the
       range re-enter it at the other end: I <- ratio I, minus 1 above 1/2, plus 1 below -1/2;
    3. takes as candidates the squares of side 2 reach + 1 around these pixels.

    Narodytska and Kasiviswanathan 2016, "Simple Black-Box Adversarial Perturbations for Deep Networks",
    arXiv:1612.06299, algorithm 2, whose text sorts by decreasing probability. Lowest is right where the extreme value
    and the change are on the same side of the pixel. Where pixels are black or white, ratio I wraps around to the other
    side, and p sign(I) says little about it; `probe="change"` then needs far fewer pixels.

    The paper also lets a changed pixel rest for 30 rounds, and p grow where the label stays probable and shrink where
    it does not (`adaptive`), here by factors of 2, at most 8 in all. If all candidates rest, other pixels are drawn. A
    pixel at the centre of the range stays as it is.

    Args:
        classifier: images [M, H, W, C] to logits [M, K], in evaluation mode. Scored pixels may be outside of the range.
        x: [B, H, W, C], within `lower` and `upper`.
        labels: [B], usually the true ones; None: the predicted ones. Images with another prediction are not changed.
        p: in units of upper - lower.
        ratio: from 0 to 2.
        start_fraction: the fraction of all pixels that are the first candidates, drawn at random.
        probe: the value at which a pixel is scored: `"extreme"`, p sign(I), or `"change"`, the value that it would get.
        max_candidates: a random subset of the candidates of each round, for fewer queries; None: all of them.
        batch_size: images to search side by side, which go on until the slowest is done; None: one after another, the
            candidates of a round being the only batch.

    Raises:
        ValueError: inputs outside of `lower` and `upper`, labels other than 0..K-1, numbers out of their range.
    """
    x = as_inputs(x, lower, upper)
    if x.ndim != 4:
        raise ValueError(f"`x` must be images [B, H, W, C], got shape {x.shape}")
    check_counts(k=k, pixels_per_round=pixels_per_round, max_rounds=max_rounds)
    check_counts(0, reach=reach, rest=rest)
    check_number("p", p, 0, above=True)
    if probe not in ("extreme", "change"):
        raise ValueError(f"`probe` must be 'extreme' or 'change', got {probe!r:.80}")
    check_number("ratio", ratio, 0, 2)
    check_number("start_fraction", start_fraction, 0, 1, above=True)
    height, width, channels = x.shape[1:]
    places = height * width
    first = math.ceil(start_fraction * places)
    most = min(places, max(first, pixels_per_round * (2 * reach + 1) ** 2))
    if max_candidates is not None:
        check_counts(max_candidates=max_candidates)
        most = min(most, max_candidates)
    t, centre, span = min(pixels_per_round, most), (lower + upper) / 2, upper - lower
    position = jnp.arange(places)

    def ask(images: Array) -> Array:
        """Logits of images [M, P, C] in [-1/2, 1/2]."""
        return logits_of(classifier, (centre + span * images).reshape(-1, height, width, channels))

    def fooled(image: Array, label: Array) -> Array:
        (logits,) = ask(image[None])
        return (logits > logits[label]).sum() >= k

    def one_round(state: _State, label: Array, key: Key) -> _State:
        awake = state.rests_until <= state.rounds
        candidates = state.candidates & awake
        candidates = jnp.where(candidates.any(), candidates, awake)
        # a random subset, where there are more than can be scored
        priority = candidates * (1 + jax.random.uniform(jax.random.fold_in(key, state.rounds), (places,)))
        chosen = lax.top_k(priority, most)[1]
        valid = candidates[chosen]
        values = state.image[chosen]
        values = _wrapped(ratio * values) if probe == "change" else state.p * jnp.sign(values)
        scored = jnp.broadcast_to(state.image, (most, *state.image.shape)).at[jnp.arange(most), chosen].set(values)
        probability = jax.nn.softmax(ask(scored))[:, label]
        best = jnp.argsort(jnp.where(valid, probability, jnp.inf))[:t]
        changed, valid_changes = chosen[best], valid[best]
        # a place outside of the image, for changes that are not
        target = jnp.where(valid_changes, changed, places)
        image = state.image.at[target].set(_wrapped(ratio * state.image[changed]), mode="drop")
        near = jnp.abs(position // width - changed[:, None] // width) <= reach
        near &= jnp.abs(position % width - changed[:, None] % width) <= reach
        mean = jnp.where(valid, probability, 0).sum() / valid.sum()  # NaN, and p as it is, if all pixels rest
        larger = jnp.where(mean > CONFIDENT, FACTOR, jnp.where(mean < UNSURE, 1 / FACTOR, 1.0))
        return _State(
            image,
            (near & valid_changes[:, None]).any(0),
            state.rests_until.at[target].set(state.rounds + 1 + rest, mode="drop"),
            jnp.clip(larger * state.p, p / MOST, p * MOST) if adaptive else state.p,
            fooled(image, label),
            state.queries + valid.sum() + 1,
            state.rounds + 1,
        )

    def search(image: Array, label: Array, key: Key) -> _State:
        start_key, key = jax.random.split(key)
        candidates = jnp.zeros(places, bool).at[jax.random.permutation(start_key, places)[:first]].set(True)
        zero = jnp.zeros((), int)
        start = _State(
            image,
            candidates,
            jnp.zeros(places, int),
            jnp.full((), p, image.dtype),
            fooled(image, label),
            zero + 1,
            zero,
        )
        return lax.while_loop(
            lambda state: ~state.success & (state.rounds < max_rounds),
            lambda state: one_round(state, label, key),
            start,
        )

    images = ((x - centre) / span).reshape(-1, places, channels)
    if labels is None:
        labels = logits_of(classifier, x).argmax(-1)
    else:
        logits = jax.eval_shape(lambda x: logits_of(classifier, x), x)
        labels = as_labels("labels", labels, jnp.zeros(logits.shape))
    found = lax.map(
        lambda each: search(*each), (images, labels, jax.random.split(key, len(x))), batch_size=batch_size
    )
    changed = found.image != images
    y = jnp.clip(centre + span * found.image, lower, upper).reshape(x.shape)
    y = jnp.where(changed.reshape(x.shape), y, x)
    return LocalSearch(y, found.success, changed.any(-1).sum(-1), found.queries, found.rounds)


def _wrapped(values: Array) -> Array:
    """Values in [-1, 1] to [-1/2, 1/2]: minus 1 above 1/2, plus 1 below -1/2."""
    return jnp.where(values > 0.5, values - 1, jnp.where(values < -0.5, values + 1, values))
