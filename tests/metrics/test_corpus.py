import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.metrics import (
    bigram_divergences,
    bleu,
    copied_n_grams,
    copied_sequences,
    corpus_bleu,
    distinct_n_grams,
    n_gram_jensen_shannon,
    perplexity,
)


def windows(tokens, n):
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def papineni(references, candidates, n):
    """The paper's formula, by counting in lists."""
    log_precision = 0.0
    for order in range(1, n + 1):
        clipped, total = 0, 0
        for several, candidate in zip(references, candidates, strict=True):
            grams = windows(candidate, order)
            total += len(grams)
            for gram in sorted(set(grams)):
                most = max(windows(reference, order).count(gram) for reference in several)
                clipped += min(grams.count(gram), most)
        log_precision += math.log(clipped / total) / n
    c = sum(map(len, candidates))
    r = sum(
        min((len(reference) for reference in several), key=lambda length: (abs(length - len(candidate)), length))
        for several, candidate in zip(references, candidates, strict=True)
    )
    return math.exp(log_precision) * (1 if c > r else math.exp(1 - r / c))


@pytest.mark.parametrize("shortened", [0, 4])
def test_bleu_of_a_corpus_is_the_papers(shortened):
    rng = np.random.default_rng(0)
    references = [[rng.integers(0, 4, rng.integers(8, 14)).tolist() for _ in range(3)] for _ in range(12)]
    candidates = [rng.integers(0, 4, rng.integers(8, 14) - shortened).tolist() for _ in references]
    expected = papineni(references, candidates, 4)
    assert corpus_bleu(references, candidates) == pytest.approx(expected, rel=1e-12) and 0.05 < expected < 0.95
    ones = [several[0] for several in references]
    assert corpus_bleu(ones, candidates, 2) == pytest.approx(papineni([[r] for r in ones], candidates, 2), rel=1e-12)


def test_counts_are_summed_over_the_corpus_before_they_are_divided():
    references, candidates = [[1, 2, 3, 4], [5, 6]], [[1, 2, 3, 4], [7, 8]]
    # 4 of 6 unigrams and 3 of 4 bigrams
    assert corpus_bleu(references, candidates, 2) == pytest.approx(math.sqrt(4 / 6 * 3 / 4))
    # a mean over sentences would be (1 + 0) / 2
    assert np.mean([bleu([r], [c], 2, 0) for r, c in zip(references, candidates, strict=True)]) == 0.5


def test_counts_are_clipped_and_the_length_is_that_of_the_corpus():
    # seven times "the" in a reference with two of them
    assert corpus_bleu([[0, 1, 0, 2, 3, 4, 5]], [[0] * 7], 1) == pytest.approx(2 / 7)
    # one candidate is shorter than its reference and one is longer: together they are as long, and pay nothing
    assert corpus_bleu([[1, 1, 1], [1]], [[1], [1, 1, 1]], 1) == pytest.approx(2 / 4)
    assert corpus_bleu([[1, 1, 1], [1, 1]], [[1], [1, 1]], 1) == pytest.approx(math.exp(1 - 5 / 3))
    # references of 2 and 6 tokens are equally near to 4: the shorter counts
    assert corpus_bleu([[[1, 2], [1, 2, 3, 4, 5, 6]]], [[1, 2, 3, 4]], 2) == 1


def test_without_a_match_bleu_is_zero():
    assert corpus_bleu([[1, 2, 3]], [[3, 2, 1]], 2) == 0 and corpus_bleu([[1, 2]], [[]], 1) == 0
    assert corpus_bleu(np.arange(12).reshape(2, 6), np.arange(12).reshape(2, 6)) == 1


def test_references_belong_to_candidates():
    with pytest.raises(ValueError, match="an entry for each of the 2 candidates, got 1"):
        corpus_bleu([[1, 2]], [[1, 2], [1, 2]])
    assert corpus_bleu([[1, 2], [3, 4]], [[3, 4], [1, 2]], 1) == 0


def test_divergences_are_those_of_counts_of_ragged_sequences():
    rng = np.random.default_rng(0)
    sets = [[rng.integers(0, 5, rng.integers(1, 9)).tolist() for _ in range(30)] for _ in range(2)]
    for n in (1, 2, 3):
        grams = [[gram for tokens in sequences for gram in windows(tokens, n)] for sequences in sets]
        known = sorted({*grams[0], *grams[1]})
        p, q = (np.array([g.count(gram) for gram in known]) / len(g) for g in grams)
        m = (p + q) / 2
        kl = [sum(a * math.log(a / b) for a, b in zip(x, m, strict=True) if a) for x in (p, q)]
        assert n_gram_jensen_shannon(*sets, n) == pytest.approx(sum(kl) / 2, rel=1e-9)


def test_divergences_of_pairs_are_those_of_the_host():
    rng = np.random.default_rng(1)
    real, fake = rng.integers(0, 6, (40, 7)).astype(np.uint8), rng.choice(6, (30, 5), p=[0.5, 0.3, 0, 0, 0.1, 0.1])
    compiled = jax.jit(bigram_divergences, static_argnums=2)(real, fake, 6)
    assert {name: float(value) for name, value in compiled.items()} == pytest.approx(
        {f"js{n}": n_gram_jensen_shannon(real, fake, n) for n in (1, 2)}, rel=1e-5
    )
    # 200 symbols have 40,000 pairs, whose indices are no uint8
    many = rng.integers(0, 200, (20, 9)).astype(np.uint8), rng.integers(0, 200, (20, 9)).astype(np.uint8)
    assert bigram_divergences(*many, 200)["js2"] == pytest.approx(n_gram_jensen_shannon(*many, 2), rel=1e-5)
    with pytest.raises(ValueError, match="at least 2 symbols"):
        bigram_divergences(real[:, :1], fake, 6)


def test_different_n_grams_are_counted_over_the_set():
    samples = [[1, 2, 1, 2], [1, 2], [3]]
    # 1-grams: three kinds of seven; 2-grams: 12, 21, 12 and 12
    assert distinct_n_grams(samples, 1) == pytest.approx(3 / 7) and distinct_n_grams(samples, 2) == pytest.approx(2 / 4)
    assert distinct_n_grams([[1, 2], [2, 1]], 2) == 1
    with pytest.raises(ValueError, match="`samples` must have a sequence of at least n=5 tokens"):
        distinct_n_grams(samples, 5)


def test_copies_are_counted_by_sequence_and_by_n_gram():
    train = [[1, 2, 3, 4], [5, 6]]
    # 45 is not known: pairs do not reach from one sequence into the next
    assert copied_n_grams(train, [[1, 2, 3, 4, 5]], 2) == pytest.approx(3 / 4)
    assert copied_n_grams(train, [[4, 5]], 2) == 0
    # each place counts, a repeated pair twice
    assert copied_n_grams(train, [[5, 6], [5, 6], [6, 5]], 2) == pytest.approx(2 / 3)
    assert copied_sequences(train, [[5, 6], [5, 6], [6, 5], [1, 2, 3]]) == 0.5


def test_perplexity_is_of_all_tokens_and_padding_does_not_count():
    log_probs, mask = jnp.log(jnp.array([[0.5, 0.5, 1e-9], [0.125, 0.5, 0.25]])), jnp.array([[1.0, 1, 0], [1, 1, 1]])
    # 2^(1 + 1 + 3 + 1 + 2) over five tokens; not the mean of 2 and 4
    assert perplexity(log_probs, mask) == pytest.approx(2 ** (8 / 5), rel=1e-6)
    assert jnp.isfinite(jax.grad(lambda x: perplexity(x, mask))(log_probs)).all()
    uniform = jnp.full((3, 4), -math.log(7))
    assert perplexity(uniform) == pytest.approx(7, rel=1e-6)
    with pytest.raises(ValueError, match="`mask` must be above zero for at least one token"):
        perplexity(uniform, jnp.zeros((3, 4)))


def test_long_n_grams_of_many_symbols_keep_apart():
    """1,000 symbols have 10^36 12-grams, more than integers of 64 bits count."""
    rng = np.random.default_rng(0)
    real = rng.integers(0, 1000, (20, 15))
    fake = real.copy()
    fake[:, 14] = 1000 - fake[:, 14]
    # of four 12-grams of a sequence one ends in the last symbol
    assert copied_n_grams(real, fake, 12) == pytest.approx(3 / 4)
    assert copied_n_grams(real.tolist(), fake, 12) == pytest.approx(3 / 4)
    assert distinct_n_grams(np.concatenate([real, real]), 12) == 0.5
