"""Figures of generated sequences of integers, by their n-grams: [N, T], or lists of sequences of any lengths.

Computed on the host, by counting.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxgen.arguments import check_rows, counts, number

Tokens = tuple[int, ...]


def n_gram_jensen_shannon(real: Any, fake: Any, n: int) -> float:
    """The Jensen-Shannon divergence in nats, 0 to log 2, between the n-grams' shares in two sets of sequences.

    Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", section 5.4; their code gives it in bits, 1 / log 2
    times as much. Few sequences have few n-grams in common, however alike: compare with a second real set of as many.

    Raises:
        ValueError: no sequence of a set is as long as n.
    """

    counts(n=n)

    def shares(name: str, sequences: Any) -> dict[Tokens, float]:
        grams = Counter(gram for tokens in _tokens(name, sequences) for gram in _grams(tokens, n))
        if not grams:
            raise ValueError(f"{name} must have a sequence of at least n={n} tokens, got none")
        return {gram: count / grams.total() for gram, count in grams.items()}

    def to_middle(p: dict[Tokens, float], q: dict[Tokens, float]) -> float:
        return sum(share * math.log(2 * share / (share + q.get(gram, 0.0))) for gram, share in p.items())

    p, q = shares("real", real), shares("fake", fake)
    return (to_middle(p, q) + to_middle(q, p)) / 2


def bleu(references: Any, candidates: Any, n: int = 4, smoothing: float = 0.1) -> float:
    """The mean over candidates of BLEU-n with all references, 0 to 1.

    BLEU is exp(mean_(i <= n) log p_i) times a penalty of exp(1 - r / c) for a candidate of length c below r, that of
    the reference nearest in length, of two the shorter. p_i is the share of the candidate's i-grams that occur in a
    reference, each at most as often as in the reference that has most of it. Papineni et al. 2002, "BLEU: a Method for
    Automatic Evaluation of Machine Translation", section 2, for each sentence by itself, as papers on generated text
    report it.

    Args:
        n: the longest i-grams.
        smoothing: the matches of an order that has none, or of which the candidate has no i-gram, so that it does not
            make the whole zero (Chen and Cherry 2014, "A Systematic Comparison of Smoothing Techniques for
            Sentence-Level BLEU", method 1); 0 for none.

    Raises:
        ValueError: no references or no candidates.
    """
    counts(n=n)
    number("smoothing", smoothing, 0)
    of = _References(_tokens("references", references), n)
    return float(np.mean([of.score(tokens, smoothing) for tokens in _tokens("candidates", candidates)]))


def self_bleu(samples: Any, n: int = 4, smoothing: float = 0.1) -> float:
    """The mean of `bleu` of each sample with all others as references: the higher, the less diverse; 1 for equal ones.

    Zhu et al. 2018, "Texygen: A Benchmarking Platform for Text Generation Models".

    Raises:
        ValueError: fewer than two samples.
    """
    counts(n=n)
    number("smoothing", smoothing, 0)
    samples = _tokens("samples", samples)
    check_rows(2, samples=samples)
    of = _References(samples, n)
    return float(np.mean([of.score(tokens, smoothing, leave_out=i) for i, tokens in enumerate(samples)]))


class _References:
    """The greatest counts of each n-gram in a set of sequences, and the greatest but for the sequence that has it.

    So that a sequence can be left out without counting again.
    """

    def __init__(self, sequences: Sequence[Tokens], n: int):
        self.n, self.lengths = n, [len(tokens) for tokens in sequences]
        self.most: dict[Tokens, tuple[int, int, int]] = {}
        for i, tokens in enumerate(sequences):
            for order in range(1, n + 1):
                for gram, count in Counter(_grams(tokens, order)).items():
                    most, owner, second = self.most.get(gram, (0, -1, 0))
                    self.most[gram] = (count, i, most) if count > most else (most, owner, max(second, count))

    def score(self, tokens: Tokens, smoothing: float, leave_out: int | None = None) -> float:
        """The BLEU of one sequence; of an empty one 0."""
        c, logs = len(tokens), []
        if not c:
            return 0.0
        for order in range(1, self.n + 1):
            grams = Counter(_grams(tokens, order))
            matches = sum(min(count, self._allowed(gram, leave_out)) for gram, count in grams.items())
            share = (matches or smoothing) / max(grams.total(), 1)
            if share == 0:
                return 0.0
            logs.append(math.log(share))
        r = min((abs(length - c), length) for i, length in enumerate(self.lengths) if i != leave_out)[1]
        return math.exp(sum(logs) / self.n + min(0.0, 1 - r / c))

    def _allowed(self, gram: Tokens, leave_out: int | None) -> int:
        most, owner, second = self.most.get(gram, (0, None, 0))
        return second if owner == leave_out else most


def _tokens(name: str, sequences: Any) -> list[Tokens]:
    """Sequences of integers as tuples.

    Raises:
        ValueError: naming the argument: no sequence.
        TypeError: naming the argument: not sequences of integers.
    """
    many = isinstance(sequences, Iterable) and getattr(sequences, "ndim", 1) > 0
    if not many or isinstance(sequences, (str, Mapping)):
        raise TypeError(f"{name} must be sequences of integers, got {type(sequences).__name__}")
    found = [_integers(name, tokens) for tokens in sequences]
    check_rows(1, **{name: found})
    return found


def _integers(name: str, tokens: Any) -> Tokens:
    try:
        array = np.asarray(tokens)
    except (ValueError, TypeError):  # ragged, or random keys of JAX
        array = np.asarray(None)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"{name} must be sequences of integers, [N, T] or lists, got {tokens!r:.80} among them")
    return tuple(array.tolist())


def _grams(tokens: Tokens, n: int) -> Iterable[Tokens]:
    return (tokens[i : i + n] for i in range(len(tokens) - n + 1))
