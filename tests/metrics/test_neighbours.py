"""Figures of neighbours, against scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from jaxgen.metrics import (
    birthday_duplicates,
    density_coverage,
    nearest_distances,
    one_nearest_neighbour,
    precision_recall_of_manifolds,
)

one_nn = jax.jit(one_nearest_neighbour)
manifolds = jax.jit(precision_recall_of_manifolds, static_argnums=2)
dense = jax.jit(density_coverage, static_argnums=2)


def sets(n=90, m=90):
    """More rows than are held at a time; the second set narrower and to one side."""
    rng = np.random.default_rng(0)
    return np.float32(rng.normal(size=(n, 3, 1))), np.float32(rng.normal(0.7, 0.5, size=(m, 3, 1)))


def radii(x, k):
    """Distances to the k-th nearest other row: the first neighbour that scikit-learn finds is the row itself."""
    return NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)[0][:, k]


def test_one_nearest_neighbour_leaves_one_out():
    real, fake = sets()
    rows, kind = np.concatenate([real, fake])[..., 0], np.repeat([0, 1], 90)
    right = []
    for i in range(180):
        others = np.arange(180) != i
        right.append(KNeighborsClassifier(1).fit(rows[others], kind[others]).predict(rows[i : i + 1])[0] == kind[i])
    figures = {name: float(value) for name, value in one_nn(real, fake).items()}
    expected = {
        "nn_accuracy": np.mean(right), "nn_accuracy_real": np.mean(right[:90]), "nn_accuracy_fake": np.mean(right[90:])
    }  # fmt: skip
    assert figures == pytest.approx(expected, abs=1e-6)
    assert abs(expected["nn_accuracy_real"] - expected["nn_accuracy_fake"]) > 0.02


def test_what_the_accuracies_mean():
    rng = np.random.default_rng(0)
    real, same = np.float32(rng.normal(size=(2, 400, 5)))
    assert float(one_nn(real, same)["nn_accuracy"]) == pytest.approx(0.5, abs=4 * 0.5 / 800**0.5)
    assert one_nn(real, same + 100)["nn_accuracy"] == 1
    # copies of real rows are never right
    assert one_nn(real, real[::-1])["nn_accuracy"] == 0
    # one point that many share: generated rows are always right, and most real rows are nearer to each other
    figures = one_nn(real, np.tile(real[:1] + 0.01, (400, 1)))
    assert figures["nn_accuracy_fake"] == 1 and 0.5 < figures["nn_accuracy_real"] < 1


def test_equally_near_rows_have_equal_parts_in_the_answer():
    real, fake = jnp.array([[0.0], [1.0], [9.0]]), jnp.array([[-1.0], [2.0], [5.0]])
    # of 0: 1 and -1; of 1: 0 and 2; of 9: 5. Of -1: 0; of 2: 1; of 5: 2, before 9 and 1
    figures = one_nn(real, fake)
    assert float(figures["nn_accuracy_real"]) == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert float(figures["nn_accuracy_fake"]) == pytest.approx((0 + 0 + 1) / 3)
    assert one_nn(jnp.zeros((2, 3)), jnp.zeros((2, 3)))["nn_accuracy"] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="3 and 2"):
        one_nearest_neighbour(real, fake[:2])


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_those_of_balls(k):
    real, fake = sets(90, 70)
    far = cdist(fake[..., 0], real[..., 0])
    expected = {
        "precision": (far <= radii(real[..., 0], k)).any(1).mean(),
        "recall": (far.T <= radii(fake[..., 0], k)).any(1).mean(),
    }
    figures = {name: float(value) for name, value in manifolds(real, fake, k).items()}
    assert figures == pytest.approx(expected, abs=1e-6)
    assert 0 < expected["recall"] < expected["precision"] - 0.2


@pytest.mark.slow
def test_precision_is_of_generated_rows_and_recall_of_real_ones():
    rng = np.random.default_rng(0)
    # two real modes, one of which is generated
    near, far = rng.normal(size=(2, 200, 2)) + [[[0, 0]], [[100, 100]]]
    both, one = np.concatenate([near, far]), rng.normal(size=(200, 2))
    figures = manifolds(both, one, 3)
    assert figures["precision"] > 0.9 and figures["recall"] < 0.55
    swapped = manifolds(one, both, 3)
    assert swapped["precision"] == figures["recall"] and swapped["recall"] == figures["precision"]
    # a generator that invents a mode, the other way round
    assert swapped["precision"] < 0.55 and swapped["recall"] > 0.9


def test_a_row_is_not_among_its_own_neighbours_and_what_is_on_a_ball_is_within():
    real, fake = jnp.array([[0.0], [1.0], [3.0], [6.0]]), jnp.array([[-1.0], [8.5], [9.0], [9.5]])
    # balls of radius 1, 1, 2, 3 by the nearest other row; counting the row itself all would be of radius 0
    figures = manifolds(real, fake, 1)
    assert figures["precision"] == 0.75
    # of the generated rows' balls of radius 9.5, 0.5, 0.5, 0.5 the first holds all real rows
    assert figures["recall"] == 1
    figures = dense(real, fake, 1)
    # -1 is in the ball of 0, 8.5 and 9 in that of 6; 9.5 is in none
    assert figures["density"] == 0.75 and figures["coverage"] == 0.5
    for of in (precision_recall_of_manifolds, density_coverage):
        with pytest.raises(ValueError, match="k=4 examples, got 4"):
            of(real, fake, 4)


@pytest.mark.parametrize("k", [1, 5])
def test_density_and_coverage_are_naeems(k):
    real, fake = sets(90, 70)
    within = cdist(real[..., 0], fake[..., 0]) <= radii(real[..., 0], k)[:, None]
    figures = {name: float(value) for name, value in dense(real, fake, k).items()}
    assert figures == pytest.approx({"density": within.sum() / (k * 70), "coverage": within.any(1).mean()}, abs=1e-6)


def test_samples_of_the_same_distribution_have_density_one_and_the_known_coverage():
    real, same = np.float32(np.random.default_rng(0).normal(size=(2, 1000, 3)))
    figures = dense(real, same, 3)
    assert float(figures["density"]) == pytest.approx(1, abs=0.1)
    assert float(figures["coverage"]) == pytest.approx(1 - 2**-3, abs=0.04)


def test_the_nearest_other_row():
    x = sets()[0]
    np.testing.assert_allclose(jax.jit(nearest_distances)(x), radii(x[..., 0], 1), rtol=1e-4)
    assert (nearest_distances(jnp.array([[3.0], [3.0], [5.0]])) == jnp.array([0, 0, 2])).all()


def test_duplicates_are_pairs_within_the_threshold():
    x = np.random.default_rng(0).normal(size=(90, 2))
    expected = (pdist(np.float32(x)) <= 0.1).sum()
    figures = jax.jit(birthday_duplicates)(np.float32(x), 0.1)
    assert figures["pairs"] == expected > 10
    assert float(figures["support"]) == pytest.approx(90 * 89 / 2 / expected)
    # three equal rows are three pairs; integers do not wrap, and exact ones are found far from the origin
    exact = birthday_duplicates(jnp.array([[200, 0], [10, 0], [200, 0], [200, 0], [255, 0]], jnp.uint8), 0.0)
    assert exact["pairs"] == 3
    assert birthday_duplicates(jnp.arange(4.0)[:, None], 0.5)["support"] == jnp.inf


def test_duplicates_say_how_large_the_support_is():
    draws = jax.random.randint(jax.random.key(0), (1000, 1), 0, 5000)
    # about 100 pairs, so an error of a tenth
    assert float(birthday_duplicates(draws, 0.5)["support"]) == pytest.approx(5000, rel=0.3)
