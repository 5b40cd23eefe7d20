import jax
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr

from jaxgen.metrics import class_histogram_divergence, inception_score, mode_score

RNG = np.random.default_rng(0)
# classes of unequal shares, different ones in the two sets
FAKE = 2 * RNG.normal(size=(60, 5)) + [2, 0, 0, -1, 1]
REAL = 2 * RNG.normal(size=(40, 5)) + [-1, 2, 0, -2, 1]
score, modes = jax.jit(inception_score, static_argnums=1), jax.jit(mode_score)
divergence = jax.jit(class_histogram_divergence)


def kl(p, q):
    return rel_entr(p, q).sum(-1)


def probabilities(logits):
    p = np.exp(log_softmax(logits, -1))
    return p, p.mean(0)


@pytest.mark.parametrize("splits", [1, 4])
def test_the_inception_score_is_salimans(splits):
    scores = []
    for part in np.split(FAKE, splits):
        p, mean = probabilities(part)
        scores.append(np.exp(kl(p, mean).mean()))
    np.testing.assert_allclose(score(FAKE, splits), [np.mean(scores), np.std(scores)], rtol=1e-5, atol=1e-6)


def test_certain_and_even_classes_score_their_number_and_one_class_scores_one():
    certain = np.where(np.eye(5, dtype=bool), 0.0, -np.inf)
    assert float(score(np.tile(certain, (12, 1)))[0]) == pytest.approx(5)
    assert float(score(np.tile(certain[:1], (60, 1)))[0]) == pytest.approx(1)
    # log-probabilities are logits
    assert float(score(log_softmax(FAKE, -1))[0]) == pytest.approx(float(score(FAKE)[0]), rel=1e-5)


@pytest.mark.parametrize("splits", [0, 7])
def test_parts_are_equal(splits):
    with pytest.raises(ValueError, match=f"splits.*{splits}"):
        inception_score(FAKE, splits)


def test_the_mode_score_is_that_of_che_and_not_another():
    (p, p_g), (_, p_r) = probabilities(FAKE), probabilities(REAL)
    found = float(modes(REAL, FAKE))
    assert found == pytest.approx(np.exp(kl(p, p_r).mean() - kl(p_r, p_g)), rel=1e-5)
    of_xu = np.exp(kl(p, p_g).mean() - kl(p_g, p_r))
    inception = float(score(FAKE)[0])
    assert of_xu == pytest.approx(inception * np.exp(-float(divergence(REAL, FAKE))), rel=1e-5)
    # the second divergence the other way round: what is left is the Inception score
    assert np.exp(kl(p, p_r).mean() - kl(p_g, p_r)) == pytest.approx(inception, rel=1e-5)
    assert min(abs(found - of_xu), abs(found - inception)) > 0.1


def test_a_missing_class_costs_in_the_mode_score_what_it_does_not_in_the_other_direction():
    certain = 12 * np.eye(5)
    real, fake = np.tile(certain, (4, 1)), np.tile(certain[:4], (5, 1))
    assert float(modes(real, real)) == pytest.approx(5, rel=1e-3)
    assert float(modes(real, fake)) < 1 and float(score(fake)[0]) > 3.9


def test_the_class_divergence_runs_from_the_generated_rows_to_the_real_ones():
    (_, p_g), (_, p_r) = probabilities(FAKE), probabilities(REAL)
    assert float(divergence(REAL, FAKE)) == pytest.approx(kl(p_g, p_r), rel=1e-4)
    assert abs(kl(p_g, p_r) - kl(p_r, p_g)) > 0.01
    # a class that generated rows lack adds nothing; one that real rows lack is infinite
    both = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    one = both[[0, 0]]
    assert float(divergence(both, one)) == pytest.approx(np.log(2)) and divergence(one, both) == np.inf
