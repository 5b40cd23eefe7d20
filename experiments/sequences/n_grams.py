"""n-grams of generated texts against those of a training set, and the baselines that they are compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from jaxgen.data import ArraySource, Splits
from jaxgen.metrics import copied_n_grams, n_gram_jensen_shannon

ORDERS = (1, 2, 3, 4)
"""The paper's lengths of n-grams."""
COPIED = 8
"""The length of n-grams that a sample shares with the training set by copying."""


def n_gram_metrics(train: np.ndarray, samples: np.ndarray) -> dict[str, float]:
    """Jensen-Shannon divergences of n-grams against all training examples, and the fraction of copied 8-grams.

    `js1_bits` to `js4_bits` as the authors' code reports them, `js1_nats` to `js4_nats`, and `copied_8_grams`.
    """
    nats = {n: n_gram_jensen_shannon(train, samples, n) for n in ORDERS if n <= samples.shape[1]}
    metrics = {f"js{n}_bits": value / math.log(2) for n, value in nats.items()}
    metrics |= {f"js{n}_nats": value for n, value in nats.items()}
    if samples.shape[1] >= COPIED:
        metrics[f"copied_{COPIED}_grams"] = copied_n_grams(train, samples, COPIED)
    return metrics


def baseline_samples(splits: Splits, n: int, seed: int = 0) -> Mapping[str, np.ndarray]:
    """By name, n held-out examples and n samples of n-gram models of the training examples."""
    rng, train = np.random.default_rng(seed), np.asarray(splits.train.arrays["x"])
    models = {f"Markov, order {order}" if order else "unigram": order for order in (0, 1, 2, 3)}
    held_out = np.concatenate([splits.valid.arrays["x"], splits.test.arrays["x"]])
    some = held_out[rng.permutation(len(held_out))[:n]]
    return {"held out": some, **{name: markov_samples(rng, train, n, order) for name, order in models.items()}}


def baseline_metrics(splits: Splits, n: int) -> dict[str, dict[str, float]]:
    """`n_gram_metrics` of `baseline_samples` by name."""
    train = np.asarray(splits.train.arrays["x"])
    return {name: n_gram_metrics(train, samples) for name, samples in baseline_samples(splits, n).items()}


def markov_samples(rng: np.random.Generator, train: np.ndarray, n: int, order: int) -> np.ndarray:
    """n samples like `train` [N, T] of a Markov chain of some order; of order 0 its symbols are independent.

    The first symbols are those of training examples. Each next symbol follows a random one of the places in `train`
    with the same symbols before it; after symbols that only end examples, any place.
    """
    base, length = int(train.max()) + 1, train.shape[1]
    weights = base ** np.arange(order)[::-1]
    windows = np.lib.stride_tricks.sliding_window_view(train.astype(np.int64), order + 1, axis=1).reshape(-1, order + 1)
    codes = windows[:, :-1] @ weights
    by_code = np.argsort(codes, kind="stable")
    codes, following = codes[by_code], windows[by_code, -1]
    samples = np.zeros((n, length), train.dtype)
    samples[:, :order] = train[rng.integers(len(train), size=n), :order]
    for t in range(order, length):
        context = samples[:, t - order : t].astype(np.int64) @ weights
        low, high = (np.searchsorted(codes, context, side) for side in ("left", "right"))
        low, high = np.where(low < high, low, 0), np.where(low < high, high, len(codes))
        samples[:, t] = following[rng.integers(low, high)]
    return samples


def shuffle_symbols(splits: Splits, seed: int = 0) -> Splits:
    """The same splits, the symbols of each example in a random order: only their frequencies are left."""
    rng = np.random.default_rng(seed)
    shuffled = []
    for part in splits:
        x = part.arrays["x"]
        arrays = {"x": np.take_along_axis(x, rng.random(x.shape).argsort(1), 1)}
        shuffled.append(ArraySource(arrays, levels=part.levels, name=f"{part.name}, shuffled"))
    return Splits(*shuffled)
