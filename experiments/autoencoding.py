"""What experiments with variational autoencoders share: settings, networks, diagnostics and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from experiments.shell import Config, Experiment
from jaxgen import plotting
from jaxgen.contracts import Array, Batch, Key, Play, Variables
from jaxgen.data import Splits
from jaxgen.distributions import Bernoulli, DiscretizedLogistic, Gaussian, Likelihood
from jaxgen.losses import kl_per_dimension
from jaxgen.metrics import active_units, mutual_information
from jaxgen.models.vaes import VAE, FlowPosterior, conv_vae, dense_vae, residual_vae
from jaxgen.training import TrainedModel

COLUMNS = 10
"""Images in a row of a picture."""
TRAVERSED = 10
"""Latents in the picture of traversals."""
LOOKED_AT = 1000
"""Training rows whose range is looked at."""
INFORMED_ROWS = 2000
"""Test rows that the mutual information is of: it cannot exceed the logarithm of their number."""


@dataclass(frozen=True, kw_only=True)
class NetworksConfig(Config):
    """The fields of an experiment with an encoder and a decoder; the defaults are those of Burda et al. 2016."""

    steps: int = 20_000
    batch_size: int = 20
    network: Literal["dense", "conv", "residual"] = "dense"
    """Encoder and decoder; convolutions, and residual blocks of them, are for images."""
    likelihood: Literal["bernoulli", "gaussian", "discretized_logistic"] = "bernoulli"
    """`bernoulli` draws each pixel as 0 or 1 with its grey value as probability."""
    latents: int = 50
    """Dimension of the latent space."""
    width: int = 200
    """Units of a dense layer, of which there are two; channels of the first convolution, or of the residual blocks."""
    learning_rate: float = 1e-3
    """Of Adam."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(NetworksConfig):
    """The fields of an experiment with a variational autoencoder."""

    importance_samples: int = 500
    """Samples of the bound on log p(x) that is reported on the test split."""
    chunk: int = 5
    """How many of them are computed at once."""


def likelihood(config: NetworksConfig, data: Splits) -> Likelihood:
    """Raises:
    ValueError: a likelihood of integers, or of values in [0, 1], and data that are none.
    """
    levels = data.train.levels
    if config.likelihood == "discretized_logistic" and levels is None:
        raise ValueError(f"likelihood='discretized_logistic' is of integer images; data={config.data!r} is real-valued")
    if config.likelihood == "bernoulli" and levels is None:
        x = data.train.head(LOOKED_AT)["x"]
        if x.min() < 0 or x.max() > 1:
            raise ValueError(
                f"likelihood='bernoulli' is of values in [0, 1]; data={config.data!r} has values from {x.min()} to "
                f"{x.max()}: likelihood='gaussian' takes them"
            )
    kinds = {"bernoulli": Bernoulli, "gaussian": Gaussian, "discretized_logistic": lambda: DiscretizedLogistic(levels)}
    return kinds[config.likelihood]()


def autoencoder(config: NetworksConfig, data: Splits, activation: Callable = nn.tanh) -> VAE:
    """The configured networks; objective, posterior and prior are a `dataclasses.replace` away.

    Args:
        activation: of dense layers.
    """
    given = {"likelihood": likelihood(config, data), "levels": data.train.levels}
    if config.network == "dense":
        widths = (config.width,) * 2
        return dense_vae(
            data.train.event_shape, latent_dim=config.latents, widths=widths, activation=activation, **given
        )
    build = {"conv": conv_vae, "residual": residual_vae}[config.network]
    return build(data.train.event_shape, latent_dim=config.latents, width=config.width, **given)


def experiment(
    config: NetworksConfig, data: Splits, model: Any, plays: Mapping[str, Play] | None = None
) -> Experiment:
    """The model's own game with the configured Adam, unless other plays are given; diagnostics and pictures.

    Beside the means over rows that the model gives, on the test split: a bound on -log p(x) by importance sampling, the
    active units, the information that the latents have of the data, and the divergence of each latent (a picture). Of a
    model without `log_prob` or `posterior_moments`, what can be said without them.
    """
    if plays is None:
        adam = optax.adam(config.learning_rate, eps=1e-4)
        plays = {name: play._replace(optimizer=adam) for name, play in model.plays().items()}

    def figures(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        bound = model.log_prob(
            variables, batch["x"], key, batch.get("context"), config.importance_samples, config.chunk
        )
        return {f"-log p(x) in nats, by {config.importance_samples:,} samples": -bound.mean()}

    def report(bound: TrainedModel) -> dict[str, float]:
        # where a flow follows, the moments are of what it starts from: what units it leaves active is another matter
        if not hasattr(model, "posterior_moments") or isinstance(model.posterior, FlowPosterior):
            return {"active units": float(active_units(codes(bound, data.test, config.eval_batch)))}
        mean, log_variance = moments(bound, data.test, config.eval_batch)
        key, few = jax.random.key(config.seed), slice(INFORMED_ROWS)
        information = jax.jit(mutual_information)(mean[few], log_variance[few], key)
        return {"active units": float(active_units(mean)), "mutual information in nats": float(information)}

    def map_of(bound: TrainedModel) -> Any:
        return latent_map(bound, data, config.eval_batch)

    pictures = {"latents": map_of}
    if _has_divergences(model, data):
        pictures["divergences"] = lambda bound: divergences(bound, data, config.eval_batch)
    if plotting.drawable(data.test.head(1)["x"]) and len(model.event_shape) == 3:
        pictures["interpolations"] = lambda bound: interpolations(bound, data)
        pictures["traversals"] = lambda bound: traversals(bound, data, config.eval_batch)
    return Experiment(
        model, plays, figures=figures if hasattr(model, "log_prob") else None, report=report, pictures=pictures
    )


def _has_divergences(model: Any, data: Splits) -> bool:
    """Whether the model's divergence has a part for each latent: found out without computing."""
    if not hasattr(model, "terms"):
        return False
    batch, key = data.train.head(2), jax.random.key(0)
    terms = jax.eval_shape(lambda batch: model.terms(model.init(key, batch), batch, key)[0], batch)
    return terms.kl_per_dimension is not None


def divergences(bound: TrainedModel, data: Splits, batch_size: int) -> Any:
    """What each latent costs: the mean over the test rows of its part of the divergence, the greatest first."""
    key = jax.random.key(0)
    parts = in_batches(lambda batch: bound.terms(batch, key)[0].kl_per_dimension, data.test, batch_size)
    return plotting.spectrum(parts.mean(0), "KL in nats")


def in_batches(function: Any, source: Any, batch_size: int) -> Any:
    """A function of batches over a whole split, its arrays concatenated."""
    found = [function(batch) for batch in source.batches(batch_size)]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)


def codes(bound: TrainedModel, source: Any, batch_size: int) -> Array:
    """A whole split's codes, means where they are random: [rows, latents], or what else the model's codes are."""
    return in_batches(lambda batch: bound.encode(batch["x"], None, batch.get("context")), source, batch_size)


def moments(bound: TrainedModel, source: Any, batch_size: int) -> tuple[Array, Array]:
    """Means and log-variances of a whole split's posteriors, each [rows, latents]."""
    return in_batches(lambda batch: bound.posterior_moments(batch["x"], batch.get("context")), source, batch_size)


def latent_map(bound: TrainedModel, data: Splits, batch_size: int) -> Any:
    """Where the test rows lie: their posterior means, in the plane of the two directions in which they vary the most."""
    z = np.asarray(codes(bound, data.test, batch_size))
    z = z - z.mean(0)
    if z.shape[1] > 2:
        z = z @ np.linalg.svd(z, full_matrices=False)[2][:2].T
    elif z.shape[1] == 1:
        z = np.stack([z[:, 0], np.random.default_rng(0).normal(size=len(z))], -1)
    return plotting.points(z, data.test.head(len(z)).get("label"), "posterior means")


def interpolations(bound: TrainedModel, data: Splits, pairs: int = 5) -> Any:
    """Between the posterior means of pairs of test rows, along lines."""
    head = data.test.head(2 * pairs)
    z, context = bound.encode(head["x"], None, head.get("context")), head.get("context")
    along = jnp.linspace(0, 1, COLUMNS)[:, None]
    rows = {}
    for i in range(pairs):
        start, end = 2 * i, 2 * i + 1
        given = None if context is None else (1 - along) * context[start] + along * context[end]
        line = bound.decode((1 - along) * z[start] + along * z[end], given)
        rows[str(i + 1)] = np.concatenate([head["x"][start : start + 1], line, head["x"][end : end + 1]])
    return plotting.rows(rows, "from data to data by their latents")


def traversals(bound: TrainedModel, data: Splits, batch_size: int) -> Any:
    """What the latents of greatest divergence, or variance, do, each from -3 to 3, the others as the first row has them."""
    head = data.test.head(1)
    if hasattr(bound.model, "posterior_moments"):
        used = kl_per_dimension(*moments(bound, data.test, batch_size)).mean(0)
    else:
        used = codes(bound, data.test, batch_size).var(0)
    order = np.argsort(-np.asarray(used))[:TRAVERSED]
    z = bound.encode(head["x"], None, head.get("context"))
    context = None if (given := head.get("context")) is None else jnp.repeat(jnp.asarray(given), COLUMNS, 0)
    rows = {}
    for latent in order:
        line = jnp.repeat(z, COLUMNS, 0).at[:, latent].set(jnp.linspace(-3, 3, COLUMNS))
        rows[f"z{latent}"] = np.asarray(bound.decode(line, context))
    return plotting.rows(rows, "one latent at a time")
