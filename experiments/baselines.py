"""What a model of densities has to beat: two baselines on the same split, in the same units."""

from __future__ import annotations

import numpy as np

from jaxgen.data import Splits


def bits_per_dim(splits: Splits, draws: int = 16, seed: int = 0) -> dict[str, float]:
    """Test bits/dim of a uniform distribution over the grey levels and of a full-covariance Gaussian.

    The Gaussian is fitted to the training rows with uniform noise, (x + u) / levels; its likelihood of the test rows
    is averaged over `draws` draws of the noise, in bits.

    Raises:
        ValueError: data that have no grey levels.
    """
    train, test = splits.train, splits.test
    if train.levels is None:
        raise ValueError(f"data={train.name!r} has no grey levels: bits/dim are of integer data")
    rng, levels, dims = np.random.default_rng(seed), train.levels, int(np.prod(train.event_shape))

    def noisy(source, batch_size=4096):
        rows = np.concatenate([b["x"].reshape(len(b["x"]), -1) for b in source.batches(batch_size)])
        return (rows + rng.random(rows.shape)) / levels

    x = noisy(train)
    mean, covariance = x.mean(0), np.cov(x, rowvar=False)
    chol = np.linalg.cholesky(covariance)
    log_det = 2 * np.log(np.diag(chol)).sum()
    nats = []
    for _ in range(draws):
        z = np.linalg.solve(chol, (noisy(test) - mean).T)
        nats.append(0.5 * ((z**2).sum(0) + dims * np.log(2 * np.pi) + log_det).mean())
    gaussian = (np.mean(nats) / dims + np.log(levels)) / np.log(2)
    return {"uniform, bits_per_dim": float(np.log2(levels)), "full-covariance Gaussian, bits_per_dim": float(gaussian)}
