"""Metrics of whole sets of generated sequences of integers: [N, T], or lists of sequences of any lengths.

Computed on the host, except `perplexity`. Padding counts as tokens: cut sequences at their ends first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxgen.arguments import as_arrays, check_counts, check_finite, check_values
from jaxgen.contracts import Array
from jaxgen.metrics.sequences import Tokens, as_tokens, flat_tokens, gram_codes, n_grams


def corpus_bleu(references: Any, candidates: Any, n: int = 4) -> float:
    """BLEU-n of a corpus, 0 to 1, without smoothing (Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of
    Machine Translation", section 2.3).

    BLEU is exp(mean_(i <= n) log p_i), times exp(1 - r / c) if c < r. p_i is the number of i-grams of all candidates
    that occur in their references, each counted at most as often as in the reference that has most of it, over the
    number of all i-grams of the candidates. c is the length of all candidates, r the sum of the lengths of the
    references nearest in length (the shorter of two). It differs from the mean of the candidates' `bleu`, and is 0
    without a match of some order.

    Args:
        references: for each candidate a sequence, or a list of several.

    Raises:
        ValueError: no candidates, or another number of references.
    """
    check_counts(n=n)
    candidates = as_tokens("candidates", candidates)
    references = [_several(given) for given in references] if isinstance(references, Iterable) else references
    if not isinstance(references, list) or len(references) != len(candidates):
        number = len(references) if isinstance(references, list) else type(references).__name__
        raise ValueError(f"`references` must have an entry for each of the {len(candidates)} candidates, got {number}")
    matches, totals, length, nearest = np.zeros(n), np.zeros(n), 0, 0
    for candidate, several in zip(candidates, references, strict=True):
        several, c = as_tokens("references", several), len(candidate)
        length += c
        nearest += min((abs(len(reference) - c), len(reference)) for reference in several)[1]
        for i in range(n):
            allowed: Counter[Tokens] = Counter()
            for reference in several:
                allowed |= Counter(n_grams(reference, i + 1))
            counts = Counter(n_grams(candidate, i + 1))
            matches[i] += (counts & allowed).total()
            totals[i] += counts.total()
    if not matches.all():
        return 0.0
    return math.exp(np.log(matches / totals).mean() + min(0.0, 1 - nearest / length))


def distinct_n_grams(samples: Any, n: int) -> float:
    """The number of different n-grams over the number of all n-grams of a set of samples, 0 to 1: distinct-n.

    Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models", section 5.2. It falls as
    a set grows: compare sets of one size.

    Raises:
        ValueError: no sample of at least n tokens.
    """
    check_counts(n=n)
    (codes,) = gram_codes((flat_tokens("samples", samples),), n)
    _require_grams("samples", codes, n)
    return len(np.unique(codes)) / codes.size


def copied_n_grams(references: Any, samples: Any, n: int) -> float:
    """The fraction of the samples' n-grams that occur in a reference, for example in the training set.

    Near 1 for long n-grams if samples are pieced together from the references; compare with held-out sequences.

    Raises:
        ValueError: no sample of at least n tokens.
    """
    check_counts(n=n)
    known, found = gram_codes((flat_tokens("references", references), flat_tokens("samples", samples)), n)
    _require_grams("samples", found, n)
    return float(np.isin(found, known).mean())


def copied_sequences(references: Any, samples: Any) -> float:
    """The fraction of the samples that equal a reference."""
    known = set(as_tokens("references", references))
    return float(np.mean([sample in known for sample in as_tokens("samples", samples)]))


def perplexity(log_probs: Array, mask: Array | None = None) -> Array:
    """exp(-sum log p / number of tokens) over all tokens of a set of sequences, a scalar.

    Not the mean of the sequences' perplexities. Sets larger than a batch: combine sums, not perplexities.

    Args:
        log_probs: log p(x_t | x_<t) in nats, [N, T].
        mask: 1 for tokens that count, 0 for padding; None: all count.

    Raises:
        ValueError: no token counts.
    """
    if mask is None:
        (log_probs,) = as_arrays("N T", log_probs=log_probs)
        mask = jnp.ones_like(log_probs)
    log_probs, mask = as_arrays("N T", log_probs=log_probs, mask=mask)
    check_finite(log_probs=log_probs, mask=mask)
    check_values(lambda mask: mask.any(keepdims=True), "above zero for at least one token", mask=mask)
    return jnp.exp(-(mask * log_probs).sum() / mask.sum())


def _several(references: Any) -> Sequence[Any]:
    """The references of one candidate as a list."""
    one = isinstance(references, Iterable) and all(np.ndim(token) == 0 for token in references)
    return [references] if one else references


def _require_grams(name: str, codes: np.ndarray, n: int) -> None:
    if not codes.size:
        raise ValueError(f"`{name}` must have a sequence of at least n={n} tokens, got none")
