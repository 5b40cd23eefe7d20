"""What features and categories of examples say about their classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "ClassProbe", "category_error", "linear_separability", "linear_svm_accuracy", "nearest_neighbour_accuracy",
]  # fmt: skip


def nearest_neighbour_accuracy(train: Any, train_labels: Any, test: Any, test_labels: Any) -> float:
    """The fraction of test examples whose nearest training example, in Euclidean distance, has their class.

    Args:
        train, test: features, [N, ...] and [M, ...].
        train_labels, test_labels: classes, [N] and [M].
    """
    from sklearn.neighbors import KNeighborsClassifier

    train, test = (np.reshape(x, (len(x), -1)) for x in (train, test))
    return float(KNeighborsClassifier(1).fit(train, train_labels).score(test, test_labels))


def linear_svm_accuracy(train: Any, train_labels: Any, test: Any, test_labels: Any) -> float:
    """The fraction of test examples that linear support vector machines, one against the rest, classify correctly.

    Features are standardised by the mean and the standard deviation of each over the training examples.

    Args:
        train, test: features, [N, ...] and [M, ...].
        train_labels, test_labels: classes, [N] and [M].
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    train, test = (np.reshape(x, (len(x), -1)) for x in (train, test))
    # in the primal, which has one solution and converges in few Newton steps
    machine = make_pipeline(StandardScaler(), LinearSVC(dual=False))
    return float(machine.fit(train, train_labels).score(test, test_labels))


def category_error(
    valid_categories: Any, valid_labels: Any, test_categories: Any, test_labels: Any, num_categories: int
) -> float:
    """The error of categories as a classifier, each standing for the class that it occurs with most often.

    Chen et al. 2016, section 7.2. The classes of the categories are chosen on validation examples; a category that does
    not occur there stands for class 0.

    Args:
        valid_categories, test_categories: integers, [N] and [M].
        valid_labels, test_labels: classes, [N] and [M].
    """
    counts = np.zeros((num_categories, int(np.max(valid_labels)) + 1))
    np.add.at(counts, (np.asarray(valid_categories), np.asarray(valid_labels)), 1)
    return float(np.mean(counts.argmax(1)[np.asarray(test_categories)] != np.asarray(test_labels)))


def linear_separability(latents: Any, logits: Sequence[Any], keep: float = 0.5) -> float:
    """exp(sum_i H(Y_i|X_i)): at least 1, which means that hyperplanes in the latent space separate all attributes.

    For each attribute, Y is the class that a classifier finds in the samples, and X is the class that a linear support
    vector machine, fitted to the latents and Y, finds in the latents, of those samples about which the classifier is
    most certain. H is in nats. Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial
    Networks", section 4.2, with 40 attributes of two classes and 200,000 samples: each figure depends on the
    attributes, on the number of samples and on the latents' dimension. Latents are standardised here, so that spaces of
    different scales have equal penalties.

    Args:
        latents: [N, L].
        logits: for each attribute, the classifier's on the samples of these latents, [N, K].
        keep: fraction of the samples that is kept.
    """
    from scipy.special import log_softmax
    from sklearn.metrics import confusion_matrix
    from sklearn.svm import LinearSVC

    latents = np.asarray(latents, np.float64)
    latents = (latents - latents.mean(0)) / np.maximum(latents.std(0), 1e-12)
    entropy = 0.0
    for attribute in logits:
        certain = np.argsort(-log_softmax(np.asarray(attribute, np.float64), 1).max(1), kind="stable")
        certain = certain[: max(1, round(keep * len(certain)))]
        found = np.asarray(attribute)[certain].argmax(1)
        if len(np.unique(found)) > 1:
            machine = LinearSVC(dual=False, tol=1e-3).fit(latents[certain], found)
            joint = confusion_matrix(found, machine.predict(latents[certain])) / len(found)
            given = joint / np.maximum(joint.sum(0), 1e-300)
            entropy -= (joint * np.log(np.where(joint > 0, given, 1))).sum()
    return float(np.exp(entropy))


class ClassProbe:
    """A support vector machine fitted to real images, which classifies generated or edited ones.

    Args:
        x: images in data units, [N, ...].
        label: their classes, [N].
        levels: the number of grey levels.
    """

    def __init__(self, x: Any, label: np.ndarray, levels: int):
        from sklearn.svm import SVC

        self.levels, self.x, self.label = levels, self._flat(x, levels), label
        self.classifier = SVC().fit(self.x, self.label)

    @staticmethod
    def _flat(x: Any, levels: int) -> np.ndarray:
        return np.asarray(x, np.float32).reshape(len(x), -1) / (levels - 1)

    def metrics(self, name: str, x: Any, label: np.ndarray) -> dict[str, float]:
        """The fraction of images classified as `label`, and the mean distance to the nearest real image of that class.

        The distance is Euclidean, in units of the range of grey levels: a classifier does not tell whether an image
        looks real, the distance does.

        Args:
            name: prefix of the metrics.
            x: images, [M, ...].
            label: the class that each should have, [M].
        """
        from sklearn.metrics import pairwise_distances_argmin_min

        x = self._flat(x, self.levels)
        distance = np.zeros(len(x))
        for c in np.unique(label):
            distance[label == c] = pairwise_distances_argmin_min(x[label == c], self.x[self.label == c])[1]
        return {
            f"{name}: fraction in the target class": float(np.mean(self.classifier.predict(x) == label)),
            f"{name}: distance to the target class": float(distance.mean()),
        }
