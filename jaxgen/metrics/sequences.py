"""n-gram metrics of generated sequences of integers: [N, T], or lists of sequences of any lengths.

Computed on the host.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from jaxgen.arguments import check_counts, check_length, check_number

Tokens = tuple[int, ...]
_LARGEST_CODE = 2**62


def n_gram_jensen_shannon(real: Any, fake: Any, n: int) -> float:
    """The Jensen-Shannon divergence, 0 to log 2 nats, between the n-gram frequencies of two sets of sequences.

    Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", section 5.4; their code returns bits. Small sets
    share few n-grams even if their distributions are equal: compare with a second real set of the same size.

    Raises:
        ValueError: a set has no sequence of at least n tokens.
    """
    check_counts(n=n)
    sets = {"real": flat_tokens("real", real), "fake": flat_tokens("fake", fake)}
    codes = dict(zip(sets, gram_codes(tuple(sets.values()), n), strict=True))
    for name, found in codes.items():
        if not found.size:
            raise ValueError(f"`{name}` must have a sequence of at least n={n} tokens, got none")
    size = 1 + max(found.max() for found in codes.values())
    p, q = (np.bincount(found, minlength=size) / found.size for found in codes.values())

    def kl_to_mixture(p: np.ndarray, q: np.ndarray) -> float:
        there = p > 0
        return float((p[there] * np.log(2 * p[there] / (p[there] + q[there]))).sum())

    return (kl_to_mixture(p, q) + kl_to_mixture(q, p)) / 2


class FlatTokens(NamedTuple):
    """A set of sequences put end to end: all tokens, and the length of each sequence."""

    tokens: np.ndarray
    lengths: np.ndarray


def flat_tokens(name: str, sequences: Any) -> FlatTokens:
    """Raises as `as_tokens`."""
    if isinstance(sequences, np.ndarray) and sequences.ndim == 2 and sequences.dtype.kind in "iu" and len(sequences):
        return FlatTokens(sequences.reshape(-1).astype(np.int64), np.full(len(sequences), sequences.shape[1]))
    tuples = as_tokens(name, sequences)
    lengths = np.array([len(tokens) for tokens in tuples])
    return FlatTokens(np.fromiter(chain.from_iterable(tuples), np.int64, lengths.sum()), lengths)


def gram_codes(sets: Sequence[FlatTokens], n: int) -> list[np.ndarray]:
    """The n-grams of each set of sequences as integers 0, 1, ..., equal for equal n-grams of all sets."""
    lengths = np.concatenate([one.lengths for one in sets])
    symbols = np.unique(np.concatenate([one.tokens for one in sets]), return_inverse=True)[1]
    codes, base = symbols, 1 + int(symbols.max(initial=0))
    number = base
    for order in range(1, n):
        if number * base > _LARGEST_CODE:
            codes, number = np.unique(codes, return_inverse=True)[1], 1 + len(codes)
        # of the sequences put end to end; those n-grams that reach into the next one are left out below
        codes, number = codes[: len(codes) - 1] * base + symbols[order:], number * base
    ends = np.cumsum(lengths)
    starts = np.arange(len(symbols)) + n <= np.repeat(ends, lengths)
    counts = [int(part.sum()) for part in np.split(starts, np.cumsum([len(one.tokens) for one in sets])[:-1])]
    codes = np.unique(codes[starts[: len(codes)]], return_inverse=True)[1]
    return np.split(codes, np.cumsum(counts)[:-1])


def bleu(references: Any, candidates: Any, n: int = 4, smoothing: float = 0.1) -> float:
    """The mean over candidates of BLEU-n with all references, 0 to 1.

    BLEU is exp(mean_(i <= n) log p_i), times exp(1 - r / c) if the candidate's length c is below r, the length of the
    reference nearest in length (the shorter of two). p_i is the fraction of the candidate's i-grams that occur in a
    reference, each counted at most as often as in the reference that has most of it. Papineni et al. 2002, "BLEU: a
    Method for Automatic Evaluation of Machine Translation", section 2, per sentence, as is usual for generated text.

    Args:
        n: the greatest order.
        smoothing: replaces a count of zero matches, so that BLEU is not zero (Chen and Cherry 2014, "A Systematic
            Comparison of Smoothing Techniques for Sentence-Level BLEU", method 1); 0 for none.

    Raises:
        ValueError: no references or no candidates.
    """
    check_counts(n=n)
    check_number("smoothing", smoothing, 0)
    scorer = _References(as_tokens("references", references), n)
    return float(np.mean([scorer.score(tokens, smoothing) for tokens in as_tokens("candidates", candidates)]))


def self_bleu(samples: Any, n: int = 4, smoothing: float = 0.1) -> float:
    """The mean of `bleu` of each sample against all others: higher is less diverse, 1 for equal samples.

    Zhu et al. 2018, "Texygen: A Benchmarking Platform for Text Generation Models".

    Raises:
        ValueError: fewer than two samples.
    """
    check_counts(n=n)
    check_number("smoothing", smoothing, 0)
    samples = as_tokens("samples", samples)
    check_length(2, samples=samples)
    scorer = _References(samples, n)
    return float(np.mean([scorer.score(tokens, smoothing, leave_out=i) for i, tokens in enumerate(samples)]))


class _References:
    """By n-gram, its greatest count in a sequence, that sequence's index, and the greatest count in the others.

    So a sequence can be left out without counting again.
    """

    def __init__(self, sequences: Sequence[Tokens], n: int):
        self.n, self.lengths = n, [len(tokens) for tokens in sequences]
        self.counts: dict[Tokens, tuple[int, int, int]] = {}
        for i, tokens in enumerate(sequences):
            for order in range(1, n + 1):
                for gram, count in Counter(n_grams(tokens, order)).items():
                    most, owner, second = self.counts.get(gram, (0, -1, 0))
                    self.counts[gram] = (count, i, most) if count > most else (most, owner, max(second, count))

    def score(self, tokens: Tokens, smoothing: float, leave_out: int | None = None) -> float:
        """The BLEU of one sequence; 0 if it is empty."""
        c, logs = len(tokens), []
        if not c:
            return 0.0
        for order in range(1, self.n + 1):
            grams = Counter(n_grams(tokens, order))
            matches = sum(min(count, self._allowed(gram, leave_out)) for gram, count in grams.items())
            precision = (matches or smoothing) / max(grams.total(), 1)
            if precision == 0:
                return 0.0
            logs.append(math.log(precision))
        r = min((abs(length - c), length) for i, length in enumerate(self.lengths) if i != leave_out)[1]
        return math.exp(sum(logs) / self.n + min(0.0, 1 - r / c))

    def _allowed(self, gram: Tokens, leave_out: int | None) -> int:
        most, owner, second = self.counts.get(gram, (0, None, 0))
        return second if owner == leave_out else most


def as_tokens(name: str, sequences: Any) -> list[Tokens]:
    """Sequences of integers as tuples.

    Raises:
        ValueError: no sequence.
        TypeError: not sequences of integers.
    """
    iterable = isinstance(sequences, Iterable) and getattr(sequences, "ndim", 1) > 0
    if not iterable or isinstance(sequences, (str, Mapping)):
        raise TypeError(f"`{name}` must be sequences of integers, got {type(sequences).__name__}")
    tuples = [_integers(name, tokens) for tokens in sequences]
    check_length(1, **{name: tuples})
    return tuples


def _integers(name: str, tokens: Any) -> Tokens:
    try:
        array = np.asarray(tokens)
    except (ValueError, TypeError):  # ragged, or JAX random keys
        array = np.asarray(None)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"`{name}` must be sequences of integers, [N, T] or lists, got {tokens!r:.80}")
    return tuple(array.tolist())


def n_grams(tokens: Tokens, n: int) -> Iterable[Tokens]:
    return (tokens[i : i + n] for i in range(len(tokens) - n + 1))
