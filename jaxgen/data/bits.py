"""Binary data: strings of ten bits whose probabilities are known, and images as bits."""

from __future__ import annotations

import numpy as np

from jaxgen.data.arrays import ArraySource
from jaxgen.data.checks import whole
from jaxgen.data.errors import DataError
from jaxgen.data.sources import Arrays, Source
from jaxgen.data.splits import Splits, split_array

PATTERNS = np.array(
    [
        [int(bit) for bit in pattern]
        for pattern in (
            "0001010100", "1011110000", "0100101000", "1111010110", "0000000010", "0101100101", "1010101100",
            "0011001001",
        )
    ],
    np.uint8,
)  # fmt: skip
"""Eight strings of ten bits, each two of which differ in four bits or more."""
WEIGHTS = np.arange(1, 9) / 36
"""Probability of each pattern."""
FLIP = 0.05
"""Probability of each bit to differ from that of the pattern."""
SIZES = (50_000, 10_000, 10_000)


def bit_patterns() -> Splits:
    """Ten bits, uint8 `[n, 10]` with two levels: a pattern, the label, with flipped bits; repeated strings are common.

    50,000 training, 10,000 validation and 10,000 test examples, fixed and independent; `log_prob_of_bit_patterns` has
    the probability of each of the 1,024 strings.
    """
    batches = (_draw(np.random.default_rng(seed), n) for seed, n in enumerate(SIZES))
    return Splits(*(ArraySource(batch, levels=2, name="bit_patterns", num_classes=len(WEIGHTS)) for batch in batches))


def _draw(rng: np.random.Generator, n: int) -> Arrays:
    label = rng.choice(len(WEIGHTS), n, p=WEIGHTS)
    flips = rng.random((n, PATTERNS.shape[1])) < FLIP
    return {"x": PATTERNS[label] ^ flips, "label": label.astype(np.int32)}


def log_prob_of_bit_patterns(x: np.ndarray) -> np.ndarray:
    """log p(x) of `bit_patterns` in nats: [n, 10] to [n]."""
    flipped = (np.asarray(x)[:, None] != PATTERNS).sum(-1)
    of_pattern = flipped * np.log(FLIP) + (PATTERNS.shape[1] - flipped) * np.log(1 - FLIP)
    return np.logaddexp.reduce(np.log(WEIGHTS) + of_pattern, axis=1)


def all_strings(length: int) -> np.ndarray:
    """All strings of `length` bits in lexicographic order, uint8 `[2^length, length]`."""
    return (np.arange(2**length)[:, None] >> np.arange(length)[::-1] & 1).astype(np.uint8)


def binarized(splits: Splits, factor: int = 2, seed: int = 0) -> Splits:
    """Images as bits, uint8 `[N, H / factor, W / factor, 1]` with two levels; labels are kept.

    The order is random and fixed, since files may be sorted by class.

    Each pixel is one with its grey value as the probability, drawn once (Salakhutdinov and Murray 2008, "On the
    quantitative analysis of deep belief networks"; images of bits stay as they are). Then a square of `factor` x
    `factor` pixels is one if at least half of them are.

    Raises:
        DataError: data other than grey images with levels; a factor that does not divide both sides.
    """
    return Splits(*(None if split is None else _binarized(split, factor, seed + i) for i, split in enumerate(splits)))


def _binarized(split: Source, factor: int, seed: int) -> ArraySource:
    factor, shape = whole("factor", factor, 1), split.event_shape
    if split.levels is None or len(shape) != 3 or shape[-1] != 1 or shape[0] % factor or shape[1] % factor:
        raise DataError(
            f"{split.name} must hold grey images with levels, whose sides factor={factor} divides, got {shape} and "
            f"levels={split.levels}"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(split))
    arrays = {key: split_array(split, key)[order] for key in split.head(1)}
    x = rng.random(arrays["x"].shape, np.float32) * (split.levels - 1) < arrays["x"]
    squares = x.reshape(len(x), shape[0] // factor, factor, shape[1] // factor, factor, 1)
    x = (2 * squares.sum((2, 4)) >= factor**2).astype(np.uint8)
    return ArraySource({**arrays, "x": x}, levels=2, name=f"{split.name} as bits", num_classes=split.num_classes)
