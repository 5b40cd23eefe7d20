"""What a model of densities has to beat: baselines on the same split, in the same units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jaxgen.data import Source, Splits


def bits_per_dim(splits: Splits, draws: int = 16, seed: int = 0) -> dict[str, float]:
    """Test bits/dim of a uniform distribution over the grey levels and of a full-covariance Gaussian.

    The Gaussian is fitted to the training rows with uniform noise, (x + u) / levels; its likelihood of the test rows
    is averaged over `draws` draws of the noise, in bits. Where rows have a context its mean is linear in that. Rows
    that lie in a subspace, as fewer than coordinates do, have no such density: no figure.

    Raises:
        ValueError: data that have no grey levels.
    """
    train, test = splits.train, splits.test
    if train.levels is None:
        raise ValueError(f"data={train.name!r} has no grey levels: bits/dim are of integer data")
    rng, levels, dims = np.random.default_rng(seed), train.levels, int(np.prod(train.event_shape))

    def noisy(source):
        rows = _flat(source, "x")
        return (rows + rng.random(rows.shape)) / levels

    uniform = {"uniform, bits_per_dim": float(np.log2(levels))}
    try:
        log_density = _gaussian(noisy(train), _inputs(train))
    except np.linalg.LinAlgError:
        return uniform
    nats = np.mean([log_density(noisy(test), _inputs(test)).mean() for _ in range(draws)])
    gaussian = (-nats / dims + np.log(levels)) / np.log(2)
    return {**uniform, "full-covariance Gaussian, bits_per_dim": float(gaussian)}


def log_prob(splits: Splits) -> dict[str, float]:
    """Test log-likelihood in nats, the mean over rows, of a full-covariance Gaussian fitted to the training rows.

    Where rows have a context its mean is linear in that. Rows that lie in a subspace have no such density: no figure.

    Raises:
        ValueError: data that have grey levels.
    """
    train, test = splits.train, splits.test
    if train.levels is not None:
        raise ValueError(f"data={train.name!r} has {train.levels} grey levels: log_prob is of real-valued data")
    try:
        log_density = _gaussian(_flat(train, "x"), _inputs(train))
    except np.linalg.LinAlgError:
        return {}
    return {"full-covariance Gaussian, log_prob": float(log_density(_flat(test, "x"), _inputs(test)).mean())}


def _flat(source: Source, name: str, batch_size: int = 4096) -> np.ndarray:
    rows = [batch[name].reshape(len(batch[name]), -1) for batch in source.batches(batch_size)]
    return np.concatenate(rows).astype(np.float64)


def _inputs(source: Source) -> np.ndarray:
    """What the mean is linear in: 1, and the context where there is one."""
    one = np.ones((len(source), 1))
    return np.concatenate([one, _flat(source, "context")], 1) if "context" in source.head(1) else one


def _gaussian(x: np.ndarray, given: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The log-density in nats, of (x, given), of a Gaussian whose mean is the regression of rows x on `given`.

    Raises:
        LinAlgError: the covariance is singular.
    """
    weights = np.linalg.lstsq(given, x, rcond=None)[0]
    chol = np.linalg.cholesky(np.atleast_2d(np.cov(x - given @ weights, rowvar=False)))

    def log_density(x: np.ndarray, given: np.ndarray) -> np.ndarray:
        z = np.linalg.solve(chol, (x - given @ weights).T)
        return -0.5 * ((z**2).sum(0) + len(chol) * np.log(2 * np.pi)) - np.log(np.diag(chol)).sum()

    return log_density
