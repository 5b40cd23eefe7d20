import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from jaxgen.metrics import bleu, n_gram_jensen_shannon, self_bleu


def test_the_divergence_of_n_grams_is_scipys():
    rng = np.random.default_rng(0)
    real, fake = rng.integers(0, 3, (20, 6)), rng.choice(3, (15, 8), p=[0.7, 0.2, 0.1])

    def shares(rows):
        pairs = np.stack([rows[:, :-1], rows[:, 1:]], -1).reshape(-1, 2)
        return np.bincount(3 * pairs[:, 0] + pairs[:, 1], minlength=9)

    # scipy gives its root
    expected = jensenshannon(shares(real), shares(fake)) ** 2
    assert n_gram_jensen_shannon(real, fake, 2) == pytest.approx(expected, rel=1e-9)
    assert n_gram_jensen_shannon(fake, real, 2) == pytest.approx(expected, rel=1e-9)


def test_the_divergence_is_between_zero_and_log_two():
    a, b = np.array([[0, 1, 0, 1]]), np.array([[2, 3, 2, 3]])
    assert n_gram_jensen_shannon(a, a, 3) == 0
    assert n_gram_jensen_shannon(a, b, 3) == pytest.approx(math.log(2))
    # n-grams do not reach from one sequence into the next
    assert n_gram_jensen_shannon([[0, 1], [2, 3]], [[0, 1, 2, 3]], 2) > 0.1
    assert n_gram_jensen_shannon([[0, 1], [2, 3]], [[2, 3], [0, 1]], 2) == 0
    with pytest.raises(ValueError, match="n=5"):
        n_gram_jensen_shannon(a, b, 5)


# the, cat, is, on, mat, there, a: Papineni et al. 2002, section 2.1
THE, CAT, IS, ON, MAT, THERE, A = range(7)
REFERENCES = [[THE, CAT, IS, ON, THE, MAT], [THERE, IS, A, CAT, ON, THE, MAT]]


def test_counts_are_clipped_as_in_the_paper():
    # seven times "the": 2 / 7, not 7 / 7, nor the 3 / 7 of both references together
    assert bleu(REFERENCES, [[THE] * 7], n=1) == pytest.approx(2 / 7)


def test_bleu_by_hand():
    candidate = [THE, CAT, THE, CAT, ON, THE, MAT]
    # 1-grams: the 2 (of 3), cat 1 (of 2), on, mat: 5 / 7; 2-grams: the cat, on the, the mat, cat on: 4 / 6;
    # 3-grams: cat on the, on the mat: 2 / 5; 4-grams: cat on the mat: 1 / 4
    assert bleu(REFERENCES, [candidate]) == pytest.approx((5 / 7 * 4 / 6 * 2 / 5 * 1 / 4) ** 0.25)
    # without the second reference two 2-grams, one 3-gram and no 4-gram are left, which counts as a tenth of a match
    assert bleu(REFERENCES[:1], [candidate]) == pytest.approx((5 / 7 * 3 / 6 * 1 / 5 * 0.1 / 4) ** 0.25)
    assert bleu(REFERENCES[:1], [candidate], smoothing=0) == 0


def test_short_candidates_are_penalised_by_the_nearest_reference():
    # of 6 and 7 tokens the nearest to 4 is 6: exp(1 - 6/4)
    assert bleu(REFERENCES, [[THE, CAT, IS, ON]]) == pytest.approx(math.exp(1 - 6 / 4))
    # longer than all: no penalty, and precisions pay
    assert bleu(REFERENCES, [[*REFERENCES[0], A]], n=1) == 1
    # of references of 2 and 6, equally near to 4, the shorter counts
    assert bleu([[5, 5], [1, 2, 3, 4, 5, 6]], [[1, 2, 3, 4]]) == 1
    assert bleu(REFERENCES, [[]]) == 0


def test_the_mean_is_over_candidates_and_references_are_not_candidates():
    rows = np.array([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6]])
    assert bleu(rows, rows) == 1
    # all 1-grams of the first are in the reference, four in five of the second's
    assert bleu(rows[:1], rows, n=1) == pytest.approx((1 + 4 / 5) / 2)
    assert bleu(rows, rows[:1, ::-1], n=1) == 1 and bleu(rows[:1, ::-1], rows, n=1) == pytest.approx(0.9)
    with pytest.raises(ValueError, match="`references` must have at least 1 examples"):
        bleu([], rows)


def test_self_bleu_leaves_the_sample_itself_out():
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 4, (12, 7)).tolist() + [[1, 1, 1], [1, 1, 2, 3, 3, 3, 3, 3, 3]]
    expected = np.mean([bleu(samples[:i] + samples[i + 1 :], [row], n=3) for i, row in enumerate(samples)])
    assert self_bleu(samples, n=3) == pytest.approx(expected, rel=1e-12)
    assert expected < 0.9
    assert self_bleu(np.tile([[1, 2, 3, 4]], (5, 1))) == 1
    assert self_bleu(np.arange(20).reshape(4, 5), smoothing=0) == 0
    with pytest.raises(ValueError, match="`samples` must have at least 2 examples"):
        self_bleu(samples[:1])
