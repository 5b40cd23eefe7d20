"""Choices between right and wrong answers."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxgen.metrics import choice_accuracy


def test_it_is_the_mean_area_under_the_curve_of_each_question():
    rng = np.random.default_rng(0)
    right, wrong = rng.integers(0, 5, (20, 3)), rng.integers(0, 4, (20, 2))  # with ties
    labels = np.repeat([1, 0], [3, 2])
    areas = [roc_auc_score(labels, np.concatenate(pair)) for pair in zip(right, wrong, strict=True)]
    assert float(choice_accuracy(right, wrong)) == pytest.approx(np.mean(areas))
    # questions are not compared with each other
    assert choice_accuracy([[1.0], [9.0]], [[0.0], [8.0]]) == 1
    assert choice_accuracy([[0.0]], [[0.0]]) == 0.5
