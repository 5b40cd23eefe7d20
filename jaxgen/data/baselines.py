"""Simple methods to compare with, on the same splits and in the same units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jaxgen.data.errors import DataError
from jaxgen.data.sources import Source
from jaxgen.data.splits import Splits, split_array

__all__ = ["bits_per_dim", "classifiers", "log_prob"]


def bits_per_dim(splits: Splits, draws: int = 16, seed: int = 0) -> dict[str, float]:
    """Test bits/dim of a uniform distribution over the grey levels and of a full-covariance Gaussian.

    The Gaussian is fitted to the training examples with uniform noise, (x + u) / levels; its log-likelihood of the test
    examples is averaged over `draws` samples of the noise. With a context, its mean is linear in the context. It is
    left out if its covariance is singular.

    Raises:
        DataError: data without grey levels.
    """
    train, test = splits.train, splits.test
    if train.levels is None:
        raise DataError(f"bits/dim need integer data, got real-valued {train.name!r}")
    rng, levels, dims = np.random.default_rng(seed), train.levels, int(np.prod(train.event_shape))

    def noisy(source):
        x = _flat(source, "x")
        return (x + rng.random(x.shape)) / levels

    uniform = {"uniform, bits_per_dim": float(np.log2(levels))}
    try:
        log_density = _gaussian(noisy(train), _inputs(train))
    except np.linalg.LinAlgError:
        return uniform
    nats = np.mean([log_density(noisy(test), _inputs(test)).mean() for _ in range(draws)])
    gaussian = (-nats / dims + np.log(levels)) / np.log(2)
    return {**uniform, "full-covariance Gaussian, bits_per_dim": float(gaussian)}


def log_prob(splits: Splits) -> dict[str, float]:
    """Mean test log-likelihood in nats of a full-covariance Gaussian fitted to the training examples.

    With a context, its mean is linear in the context. It is left out if its covariance is singular.

    Raises:
        DataError: data with grey levels.
    """
    train, test = splits.train, splits.test
    if train.levels is not None:
        raise DataError(f"log_prob needs real-valued data, got {train.name!r} with {train.levels} grey levels")
    try:
        log_density = _gaussian(_flat(train, "x"), _inputs(train))
    except np.linalg.LinAlgError:
        return {}
    return {"full-covariance Gaussian, log_prob": float(log_density(_flat(test, "x"), _inputs(test)).mean())}


def classifiers(labelled: Source, test: Source) -> dict[str, float]:
    """Test accuracies of two classifiers of scikit-learn that are fitted to the labelled examples alone."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    kinds = {"nearest neighbour": KNeighborsClassifier(1), "support vector machine": SVC()}
    label, test_label = split_array(labelled, "label"), split_array(test, "label")
    return {
        f"{name} on the labelled examples, accuracy": float(
            kind.fit(_flat(labelled, "x"), label).score(_flat(test, "x"), test_label)
        )
        for name, kind in kinds.items()
    }


def _flat(source: Source, name: str) -> np.ndarray:
    values = split_array(source, name)
    return values.reshape(len(values), -1).astype(np.float64)


def _inputs(source: Source) -> np.ndarray:
    """The regressors of the mean: 1, and the context if there is one."""
    one = np.ones((len(source), 1))
    return np.concatenate([one, _flat(source, "context")], 1) if "context" in source.head(1) else one


def _gaussian(x: np.ndarray, inputs: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The log-density of a Gaussian fitted to x, in nats, its mean a regression on `inputs`.

    Raises:
        LinAlgError: the covariance is singular.
    """
    weights = np.linalg.lstsq(inputs, x, rcond=None)[0]
    chol = np.linalg.cholesky(np.atleast_2d(np.cov(x - inputs @ weights, rowvar=False)))

    def log_density(x: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        z = np.linalg.solve(chol, (x - inputs @ weights).T)
        return -0.5 * ((z**2).sum(0) + len(chol) * np.log(2 * np.pi)) - np.log(np.diag(chol)).sum()

    return log_density
