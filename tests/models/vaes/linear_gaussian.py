"""A variational autoencoder of which everything is known."""

import numpy as np
from scipy import stats

from jaxgen.distributions.likelihoods import Gaussian
from jaxgen.models.vaes.vae import VAE
from jaxgen.nets.mlp import MLP


class LinearGaussian:
    """z ~ N(0, I_2), x|z ~ N(W z + b, s^2 I_5) as a VAE without hidden layers, W's columns orthogonal.

    Marginal and posterior are known normals, the posterior a diagonal one.
    """

    s = 0.7
    w = np.float32([[1, 1], [1, -1], [2, 0], [0, 0.5], [0, 0]])
    b = np.float32([0.1, -0.2, 0.3, 0.4, -0.5])
    marginal = stats.multivariate_normal(b, w @ w.T + s**2 * np.eye(5))
    variance = 1 / (1 + (w**2).sum(0) / s**2)
    to_mean = variance[:, None] * w.T / s**2
    model = VAE(MLP(()), MLP(()), (5,), latent_dim=2, likelihood=Gaussian(std=s))

    def variables(self, scale=1.0):
        """With the posterior's standard deviations times `scale` in the encoder, and its means."""
        log_variance = np.log(self.variance * scale**2)
        return {
            "encoder": {"params": {"head": {
                "mean": {"kernel": self.to_mean.T, "bias": -self.to_mean @ self.b},
                "log_variance": {"kernel": np.zeros((5, 2)), "bias": 14 * np.arctanh(log_variance / 14)},
            }}},
            "decoder": {"params": {"head": {"out": {"kernel": self.w.T, "bias": self.b}}}},
        }  # fmt: skip

    def variables_at(self, mean, scale):
        """As `variables`, the posterior's mean the same for every x."""
        variables = self.variables(scale)
        variables["encoder"]["params"]["head"]["mean"] = {"kernel": np.zeros((5, 2)), "bias": np.asarray(mean)}
        return variables

    def gradient_at(self, x, mean, scale):
        """Gradient of minus the expected bound of an example at `variables_at`: biases of mean, log-variance,
        decoder."""
        # d/dm of |x - W z - b|^2 / 2 s^2 + |m|^2 / 2, and d/dstd of the trace term and the divergence
        std, residual = scale * np.sqrt(self.variance), self.w @ mean + self.b - x
        by_mean = self.w.T @ residual / self.s**2 + mean
        by_std = std * (self.w**2).sum(0) / self.s**2 + std - 1 / std
        # the head keeps log-variances within +-14 by a tanh
        return by_mean, by_std * std / 2 * (1 - (2 * np.log(std) / 14) ** 2), residual / self.s**2
