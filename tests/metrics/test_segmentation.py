import jax
import numpy as np
import pytest

from jaxgen.metrics import nearest_colours, segmentation_scores


def test_scores_are_those_of_a_confusion_matrix():
    rng = np.random.default_rng(0)
    labels = rng.choice(5, (3, 6, 7), p=(0.5, 0.2, 0.2, 0.1, 0.0))
    predicted = np.where(rng.random(labels.shape) < 0.6, labels, rng.choice((0, 1, 4), labels.shape))
    accuracies, ious = [], []
    for k in range(5):
        mine, said = labels == k, predicted == k
        if mine.any():
            accuracies.append((mine & said).sum() / mine.sum())
        ious.append((mine & said).sum() / (mine | said).sum())
    scores = jax.jit(segmentation_scores, static_argnums=2)(predicted, labels, 6)
    assert scores["pixel_accuracy"] == pytest.approx((predicted == labels).mean())
    assert len(accuracies) == 4 and scores["class_accuracy"] == pytest.approx(np.mean(accuracies))
    # a class that is predicted where there is none lowers the mean; one that never occurs does not count
    assert ious[4] == 0 and scores["iou"] == pytest.approx(np.mean(ious))
    assert all(value == 1 for value in segmentation_scores(labels, labels, 5).values())


def test_scores_refuse_classes_that_are_not_there():
    with pytest.raises(ValueError, match="`labels` must be integers from 0 to 2"):
        segmentation_scores(np.zeros((2, 3), int), np.full((2, 3), 3), 3)
    with pytest.raises(ValueError, match="`labels` must have shape"):
        segmentation_scores(np.zeros((2, 3), int), np.zeros((3, 2), int), 3)


def test_classes_come_back_from_their_colours():
    rng = np.random.default_rng(0)
    palette, labels = rng.permutation(256)[:24].reshape(8, 3).astype(np.uint8), rng.integers(0, 8, (2, 4, 5))
    # uint8 differences would wrap around
    np.testing.assert_array_equal(nearest_colours(palette[labels], palette), labels)
    noisy = palette[labels].astype(np.float32) + rng.normal(size=(2, 4, 5, 3))
    np.testing.assert_array_equal(jax.jit(nearest_colours)(noisy, palette), labels)
