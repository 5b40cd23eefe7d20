"""n-gram metrics of generated sequences of integers: [N, T], or lists of sequences of any lengths.

Computed on the host.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxgen.arguments import check_counts, check_length, check_number

Tokens = tuple[int, ...]


def n_gram_jensen_shannon(real: Any, fake: Any, n: int) -> float:
    """The Jensen-Shannon divergence, 0 to log 2 nats, between the n-gram frequencies of two sets of sequences.

    Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", section 5.4; their code returns bits. Small sets
    share few n-grams even if their distributions are equal: compare with a second real set of the same size.

    Raises:
        ValueError: a set has no sequence of at least n tokens.
    """
    check_counts(n=n)

    def frequencies(name: str, sequences: Any) -> dict[Tokens, float]:
        grams = Counter(gram for tokens in _tokens(name, sequences) for gram in _grams(tokens, n))
        if not grams:
            raise ValueError(f"`{name}` must have a sequence of at least n={n} tokens, got none")
        return {gram: count / grams.total() for gram, count in grams.items()}

    def kl_to_mixture(p: dict[Tokens, float], q: dict[Tokens, float]) -> float:
        return sum(p_i * math.log(2 * p_i / (p_i + q.get(gram, 0.0))) for gram, p_i in p.items())

    p, q = frequencies("real", real), frequencies("fake", fake)
    return (kl_to_mixture(p, q) + kl_to_mixture(q, p)) / 2


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
    scorer = _References(_tokens("references", references), n)
    return float(np.mean([scorer.score(tokens, smoothing) for tokens in _tokens("candidates", candidates)]))


def self_bleu(samples: Any, n: int = 4, smoothing: float = 0.1) -> float:
    """The mean of `bleu` of each sample against all others: higher is less diverse, 1 for equal samples.

    Zhu et al. 2018, "Texygen: A Benchmarking Platform for Text Generation Models".

    Raises:
        ValueError: fewer than two samples.
    """
    check_counts(n=n)
    check_number("smoothing", smoothing, 0)
    samples = _tokens("samples", samples)
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
                for gram, count in Counter(_grams(tokens, order)).items():
                    most, owner, second = self.counts.get(gram, (0, -1, 0))
                    self.counts[gram] = (count, i, most) if count > most else (most, owner, max(second, count))

    def score(self, tokens: Tokens, smoothing: float, leave_out: int | None = None) -> float:
        """The BLEU of one sequence; 0 if it is empty."""
        c, logs = len(tokens), []
        if not c:
            return 0.0
        for order in range(1, self.n + 1):
            grams = Counter(_grams(tokens, order))
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


def _tokens(name: str, sequences: Any) -> list[Tokens]:
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


def _grams(tokens: Tokens, n: int) -> Iterable[Tokens]:
    return (tokens[i : i + n] for i in range(len(tokens) - n + 1))
