"""BLEU of each sentence against one reference, on the device: a reward inside of compiled code."""

from __future__ import annotations

import jax.numpy as jnp

from jaxgen.arguments import as_integers, check_counts, check_number
from jaxgen.contracts import Array
from jaxgen.tokens import lengths


def sentence_bleu(
    candidates: Array, references: Array, end: int | None, n: int = 4, smoothing: float = 0.1,
    unknown: int | None = None,
) -> Array:  # fmt: skip
    """BLEU-n of each candidate [B, T] with its reference [B, R], 0 to 1: [B], as `jaxgen.metrics.bleu` of each alone.

    Args:
        end: what follows the first `end`, and `end` itself, does not belong to a sequence; None: none.
        smoothing: replaces a count of zero matches.
        unknown: a token that matches nothing, itself neither; None: none.

    Raises:
        ValueError: other shapes, a negative smoothing.
        TypeError: not integers.
    """
    check_counts(n=n)
    check_number("smoothing", smoothing, 0)
    candidates = as_integers("B T", candidates=candidates)
    references = as_integers("B R", {"B": len(candidates)}, references=references)
    (size, words), (reference_size, others) = (_words(tokens, end) for tokens in (candidates, references))
    if unknown is not None:
        words &= candidates != unknown
    # entry [b, i, j]: whether the words at i and j are equal
    in_reference = _equal(candidates, references) & words[:, :, None] & others[:, None, :]
    in_candidate = _equal(candidates, candidates) & words[:, :, None]
    grams_in_reference, grams_in_candidate, total = in_reference, in_candidate, jnp.zeros(len(candidates))
    for order in range(1, n + 1):
        if order > 1:
            grams_in_reference &= _diagonally(in_reference, order - 1)
            grams_in_candidate &= _diagonally(in_candidate, order - 1)
        # an n-gram matches as often as it occurs in the reference: at its first occurrences
        earlier = jnp.tril(grams_in_candidate, -1).sum(-1)
        matches = (earlier < grams_in_reference.sum(-1)).sum(-1)
        grams = jnp.maximum(size - order + 1, 1)
        total += jnp.log(jnp.where(matches > 0, matches, smoothing) / grams)
    brevity = jnp.minimum(0.0, 1 - reference_size / jnp.maximum(size, 1))
    return jnp.where(size > 0, jnp.exp(total / n + brevity), 0.0)


def _words(tokens: Array, end: int | None) -> tuple[Array, Array]:
    """The number of words before the end, [B], and whether a position has one, [B, T]."""
    size = lengths(tokens, end)
    if end is not None:
        size -= (tokens == end).any(1)
    return size, jnp.arange(tokens.shape[1]) < size[:, None]


def _equal(a: Array, b: Array) -> Array:
    return a[:, :, None] == b[:, None, :]


def _diagonally(equal: Array, shift: int) -> Array:
    """Entry [b, i, j] is [b, i + shift, j + shift], False beyond."""
    return jnp.pad(equal[:, shift:, shift:], ((0, 0), (0, shift), (0, shift)))
