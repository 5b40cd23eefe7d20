"""VQ-VAE (van den Oord et al. 2017, "Neural Discrete Representation Learning"): 4.67 bits/dim on CIFAR-10.

Result: 6.256 bits/dim with uniform codes on CIFAR-10 after 2,500 steps, ten minutes on two cores: `--data cifar10.npz
--codes 256 --dimension 32 --batch-size 64 --learning-rate 5e-4 --steps 2500`; the paper has 4.67 after 250,000.

An autoencoder whose latents are a grid of codes from a learned codebook, then a gated PixelCNN as the prior of these
codes, in a second phase. The paper's set-up (arXiv:1711.00937) on CIFAR-10, 8x8 places, is `--codes 512 --width 256
--hidden 256 --commitment 0.25 --codebook gradient --batch-size 128 --learning-rate 2e-4 --steps 250000`. Its result
compares with `bits_per_dim_uniform`, a bound with independent codes, which needs no prior: `--prior-fraction 0`. The
defaults are those of a first run on 8x8 digits, 4x4 places: codes are moving averages, and rarely used ones restart.

Perplexity and usage are computed on the whole test split: for a batch they depend on its size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.autoencoding import likelihood
from experiments.config import Config, Experiment, Published
from experiments.run import main
from jaxgen import plotting
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import Splits
from jaxgen.losses import perplexity
from jaxgen.models.vaes import Codebook, residual_vq_vae
from jaxgen.training import TrainedModel
from jaxgen.training.latents import codes
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative

PUBLISHED = {
    data: Published("bits_per_dim_uniform", 4.67, "van den Oord et al. 2017, section 4.1", 250_000)
    for data in ("tfds:cifar10", "cifar10.npz")
}
SAMPLES = 64


@dataclass(frozen=True, kw_only=True)
class VQVAEConfig(Config):
    steps: Count = 1300
    """Batches to train on: first the autoencoder, then the prior."""
    prior_fraction: Fraction = 0.4
    """Fraction of the steps that train the prior; 0: a uniform prior over codes."""
    ema: Fraction = 0.0
    """Decay of the moving averages; 0, because the prior learns codes of the current variables."""
    eval_every: Count = 200
    log_every: Count = 50
    likelihood: Literal["bernoulli", "gaussian", "discretized_logistic"] = "discretized_logistic"
    """Likelihood of the decoder; `bernoulli` is the cross-entropy of grey values."""
    codes: Count = 64
    """Number of codes."""
    dimension: Count = 16
    """Dimension of a code."""
    codebook: Literal["gradient", "averages"] = "averages"
    """Codebook learning: the codebook loss, or moving averages with restarts."""
    decay: Fraction = 0.99
    """Decay of the codebook's moving averages."""
    commitment: NonNegative = 0.25
    """Weight of the commitment loss, the paper's beta."""
    width: Count = 64
    """Channels at the lowest resolution."""
    blocks: Natural = 2
    """Residual blocks of encoder and decoder."""
    hidden: Count = 32
    """Channels within a residual block."""
    learning_rate: NonNegative = 1e-3
    """Adam's learning rate for the autoencoder."""
    prior_width: Count = 32
    """Channels of the prior."""
    prior_blocks: Natural = 4
    """Layers of the prior."""
    prior_dropout: Fraction = 0.2
    """Dropout rate of the prior."""
    prior_learning_rate: NonNegative = 1e-3
    """Adam's learning rate for the prior."""


def build(config: VQVAEConfig, data: Splits) -> Experiment:
    levels = data.train.levels
    model = residual_vq_vae(
        data.train.event_shape,
        codebook=Codebook(
            num_codes=config.codes, code_dim=config.dimension, commitment=config.commitment,
            decay=config.decay if config.codebook == "averages" else None,
        ),
        width=config.width, blocks=config.blocks, hidden=config.hidden, likelihood=likelihood(config, data),
        levels=levels, prior_width=config.prior_width if config.prior_fraction else None,
        prior_blocks=config.prior_blocks, prior_dropout=config.prior_dropout, prior_fraction=config.prior_fraction,
    )
    rates = {"autoencoder": config.learning_rate, "prior": config.prior_learning_rate}
    optimizers = {name: optax.adam(rates[name]) for name in model.plays()}

    def metrics(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        error = model.squared_error(variables, batch["x"], batch.get("context")).mean()
        scaled = {} if levels is None else {"squared error on [0, 1]": error / (levels - 1) ** 2}
        return {"squared error": error, **scaled}

    def final_metrics(trained: TrainedModel) -> Mapping[str, float]:
        used = codes(trained, data.test, config.eval_batch)
        counts = np.bincount(np.asarray(used).ravel(), minlength=config.codes)
        return {"perplexity": float(perplexity(jnp.asarray(counts))), "fraction of codes in use": (counts > 0).mean()}

    def means(trained: TrainedModel) -> Any:
        real = data.test.head(SAMPLES)
        x = trained.sample(jax.random.key(config.seed), len(real["x"]), real.get("context"), True)
        return plotting.samples(x, real["x"], "decoded samples of the prior")

    plots = {"means": means} if plotting.drawable(data.test.head(1)["x"]) else {}
    # evaluation is deterministic
    return Experiment(
        model, optimizers=optimizers, metrics=metrics, final_metrics=final_metrics, plots=plots, draws=1
    )


if __name__ == "__main__":
    main(VQVAEConfig, build, PUBLISHED)
