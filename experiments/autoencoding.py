"""Shared by experiments with variational autoencoders: config, networks, diagnostics and plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import optax
from flax import linen as nn

from experiments.config import Config, Experiment
from jaxgen import plotting
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import Splits
from jaxgen.distributions import Bernoulli, DiscretizedLogistic, Gaussian, Likelihood
from jaxgen.losses import kl_per_dimension
from jaxgen.metrics import active_units, mutual_information
from jaxgen.models.vaes import VAE, FlowPosterior, conv_vae, dense_vae, residual_vae
from jaxgen.training import TrainedModel, latents
from jaxgen.training.ranges import Count, NonNegative

COLUMNS = 10
"""Images in a row of a plot."""
TRAVERSED = 10
"""Latents in the plot of traversals."""
RANGE_EXAMPLES = 1000
"""Training examples whose range is checked."""
MUTUAL_INFORMATION_EXAMPLES = 2000
"""Test examples for the mutual information, which is at most the logarithm of their number."""


@dataclass(frozen=True, kw_only=True)
class NetworksConfig(Config):
    """The fields of an experiment with an encoder and a decoder; the defaults are those of Burda et al. 2016."""

    steps: Count = 20_000
    batch_size: Count = 20
    network: Literal["dense", "conv", "residual"] = "dense"
    """Networks of encoder and decoder; `conv` and `residual` expect images."""
    likelihood: Literal["bernoulli", "gaussian", "discretized_logistic"] = "bernoulli"
    """`bernoulli` samples each pixel as 0 or 1 with its grey value as probability."""
    latents: Count = 50
    """Dimension of the latent space."""
    width: Count = 200
    """Units of each of two dense layers; channels of the first convolution or of the residual blocks."""
    learning_rate: NonNegative = 1e-3
    """Adam's learning rate."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(NetworksConfig):
    """The fields of an experiment with a variational autoencoder."""

    importance_samples: Count = 500
    """Importance samples of the bound on log p(x) on the test split."""
    chunk: Count = 5
    """Importance samples computed at once."""


def likelihood(config: NetworksConfig, data: Splits) -> Likelihood:
    """Raises:
    ValueError: the likelihood does not fit the data.
    """
    levels = data.train.levels
    if config.likelihood == "discretized_logistic" and levels is None:
        raise ValueError(f"likelihood='discretized_logistic' expects integers, got real-valued data={config.data!r}")
    if config.likelihood == "bernoulli" and levels is None:
        x = data.train.head(RANGE_EXAMPLES)["x"]
        if x.min() < 0 or x.max() > 1:
            raise ValueError(
                f"likelihood='bernoulli' expects values in [0, 1], got data={config.data!r} with values from {x.min()} "
                f"to {x.max()}; use likelihood='gaussian'"
            )
    kinds = {"bernoulli": Bernoulli, "gaussian": Gaussian, "discretized_logistic": lambda: DiscretizedLogistic(levels)}
    return kinds[config.likelihood]()


def autoencoder(config: NetworksConfig, data: Splits, activation: Callable = nn.tanh) -> VAE:
    """The configured networks; objective, posterior and prior are a `dataclasses.replace` away.

    Args:
        activation: of the dense layers.
    """
    options = {"likelihood": likelihood(config, data), "levels": data.train.levels}
    if config.network == "dense":
        widths = (config.width,) * 2
        return dense_vae(
            data.train.event_shape, latent_dim=config.latents, widths=widths, activation=activation, **options
        )
    build = {"conv": conv_vae, "residual": residual_vae}[config.network]
    return build(data.train.event_shape, latent_dim=config.latents, width=config.width, **options)


def experiment(
    config: NetworksConfig, splits: Splits, model: Any,
    optimizers: Mapping[str, optax.GradientTransformation] | None = None, **more: Any,
) -> Experiment:  # fmt: skip
    """The model with diagnostics and plots of its latent space.

    Adds to the model's own metrics on the test split: a bound on -log p(x) by importance sampling, the active units and
    the mutual information of data and latents, if the model has `log_prob` and `posterior_moments`.

    Args:
        optimizers: by play; None: Adam with the configured learning rate for all.
        more: other fields of the `Experiment`; `plots` and `final_metrics` are added to those here.
    """
    if optimizers is None:
        optimizers = dict.fromkeys(more.get("plays") or model.plays(), adam(config))
    test, size = splits.test, config.eval_batch
    # the moments of a flow posterior describe its base normal, not the posterior
    with_moments = hasattr(model, "posterior_moments") and not isinstance(model.posterior, FlowPosterior)

    def importance_sampled(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        log_prob = model.log_prob(
            variables, batch["x"], key, batch.get("context"), config.importance_samples, config.chunk
        )
        return {f"-log p(x) in nats, by {config.importance_samples:,} samples": -log_prob.mean()}

    def latent_metrics(trained: TrainedModel) -> dict[str, float]:
        if not with_moments:
            return {"active units": float(active_units(latents.codes(trained, test, size)))}
        mean, log_variance = latents.posterior_moments(trained, test, size)
        key, subset = jax.random.key(config.seed), slice(MUTUAL_INFORMATION_EXAMPLES)
        information = jax.jit(mutual_information)(mean[subset], log_variance[subset], key)
        return {"active units": float(active_units(mean)), "mutual information in nats": float(information)}

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        return latent_metrics(trained) | dict(more_metrics(trained) if more_metrics else {})

    def traversals(trained: TrainedModel) -> Any:
        if hasattr(model, "posterior_moments"):
            activity = kl_per_dimension(*latents.posterior_moments(trained, test, size)).mean(0)
        else:
            activity = latents.codes(trained, test, size).var(0)
        return latents.plot_traversals(trained, test, np.argsort(-np.asarray(activity))[:TRAVERSED])

    plots = {"latents": lambda trained: latents.plot_codes(trained, test, size)}
    if _has_divergences(model, splits):
        plots["divergences"] = lambda trained: latents.plot_divergences(trained, test, size)
    if plotting.drawable(test.head(1)["x"]) and len(model.event_shape) == 3:
        plots["interpolations"] = lambda trained: latents.plot_interpolations(trained, test)
        plots["traversals"] = traversals
    more_metrics = more.pop("final_metrics", None)
    more = {"metrics": importance_sampled if hasattr(model, "log_prob") else None, **more}
    plots |= more.pop("plots", {})
    return Experiment(model, optimizers=optimizers, final_metrics=final_metrics, plots=plots, **more)


def adam(config: NetworksConfig) -> optax.GradientTransformation:
    return optax.adam(config.learning_rate, eps=1e-4)


def _has_divergences(model: Any, data: Splits) -> bool:
    """Whether the model's KL divergence has a term for each latent; traced, not computed."""
    if not hasattr(model, "terms"):
        return False
    batch, key = data.train.head(2), jax.random.key(0)
    terms = jax.eval_shape(lambda batch: model.terms(model.init(key, batch), batch, key)[0], batch)
    return terms.kl_per_dimension is not None
