"""What features and categories say about classes: by hand."""

import numpy as np
import pytest

from jaxgen.metrics.probes import ClassProbe, category_error, linear_svm_accuracy, nearest_neighbour_accuracy
from jaxgen.metrics.statistics import mean_and_error, standard_error, with_error


def test_a_category_stands_for_the_class_it_is_seen_with_on_validation_examples():
    # category 0 is class 2, categories 1 and 2 are class 0, and the last, which is never seen, is the first class
    valid = [0, 0, 0, 1, 1, 2], [2, 2, 1, 0, 0, 0]
    # two of eight are wrong, though on these examples alone category 0 would be class 1
    test = [0, 0, 0, 1, 1, 2, 2, 3], [1, 1, 2, 0, 0, 0, 0, 0]
    assert category_error(*valid, *test, num_categories=4) == pytest.approx(2 / 8)


def test_the_nearest_training_example_gives_the_class():
    train, test = np.array([[[0.0, 0]], [[4, 0]], [[0, 9]]]), np.array([[[1.0, 1]], [[3, 0]], [[0, 8]], [[1, 0]]])
    assert nearest_neighbour_accuracy(train, [0, 1, 2], test, [0, 1, 2, 1]) == 0.75


def test_a_linear_machine_separates_what_a_plane_separates_whatever_the_scales():
    rng = np.random.default_rng(0)
    label = np.arange(300) % 3
    x = (10 * np.eye(3)[label] + rng.normal(size=(300, 3))) * [1e-3, 1.0, 1e3] + [0, 50, 0]
    assert linear_svm_accuracy(x[:200], label[:200], x[200:], label[200:]) == 1.0
    # one inside the other: the nearest neighbours know, a plane does not
    ring = np.stack([np.cos(np.arange(300)), np.sin(np.arange(300))], -1) * (1 + label[:, None] % 2)
    inner = (label % 2)[:200], (label % 2)[200:]
    assert linear_svm_accuracy(ring[:200], inner[0], ring[200:], inner[1]) < 0.8
    assert nearest_neighbour_accuracy(ring[:200], inner[0], ring[200:], inner[1]) > 0.95


def test_a_probe_has_the_fraction_in_the_target_class_and_the_distance_to_it():
    # two classes of images of two pixels, dark and bright, of 11 grey levels
    x = np.array([[0, 0], [1, 1], [9, 9], [10, 10]], np.uint8)
    metrics = ClassProbe(x, np.array([0, 0, 1, 1]), 11).metrics("edits", [[0, 1], [10, 8], [0, 0]], np.array([0, 1, 1]))
    assert metrics["edits: fraction in the target class"] == pytest.approx(2 / 3)
    distances = [0.1, np.sqrt(0.1**2 + 0.1**2), np.sqrt(2) * 0.9]
    assert metrics["edits: distance to the target class"] == pytest.approx(np.mean(distances), rel=1e-5)


def test_means_have_standard_errors():
    values = [1.0, 2.0, 6.0]
    # the sample's variance is ((2)^2 + 1 + 3^2) / 2 = 7
    assert standard_error(values) == pytest.approx((7 / 3) ** 0.5)
    means, errors = mean_and_error([{"a": v, "b": -v} for v in values])
    assert means == {"a": 3.0, "b": -3.0} and errors["a"] == errors["b"] == pytest.approx((7 / 3) ** 0.5)
    assert with_error(values, 2) == "3.00 ± 1.53" and with_error([0.25], 2) == "0.25"
