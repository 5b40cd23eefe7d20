"""VQ-VAE (van den Oord et al. 2017, "Neural Discrete Representation Learning"): 4.67 bits/dim on CIFAR-10.

An autoencoder whose latents are a grid of codes from a learned codebook, then a gated PixelCNN as the prior of these
codes, in a phase of its own. The paper's set-up (arXiv:1711.00937) on CIFAR-10, 8x8 places, is `--codes 512 --width 256
--hidden 256 --commitment 0.25 --codebook gradient --batch-size 128 --learning-rate 2e-4 --steps 250000`. Its figure is
compared with `bits_per_dim_uniform`, a bound with independent codes, which needs no prior: `--prior-fraction 0`. The
defaults are those of a first run on 8x8 digits, 4x4 places: codes that are moving averages, the hardly used restarted.

Perplexity and usage are of the codes of the whole test split: those of a batch depend on its size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.autoencoding import codes, likelihood
from experiments.shell import Config, Experiment, Published, main
from jaxgen import plotting
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import Splits
from jaxgen.losses import perplexity
from jaxgen.models.vaes import Codebook, residual_vq_vae
from jaxgen.training import TrainedModel

PUBLISHED = {
    data: Published("bits_per_dim_uniform", 4.67, "van den Oord et al. 2017, section 4.1")
    for data in ("tfds:cifar10", "cifar10.npz")
}
SAMPLES = 64


@dataclass(frozen=True, kw_only=True)
class VQVAEConfig(Config):
    steps: int = 1300
    """Batches to train on, first the autoencoder, then the prior."""
    prior_fraction: float = 0.4
    """Fraction of the steps that train the prior; 0: a uniform prior over codes."""
    ema: float = 0.0
    """Decay of the variables' moving averages; the prior learns codes of the variables themselves, not of averages."""
    eval_every: int = 200
    log_every: int = 50
    likelihood: Literal["bernoulli", "gaussian", "discretized_logistic"] = "discretized_logistic"
    """Of the data, given the codes; `bernoulli` rates grey values by their cross-entropy."""
    codes: int = 64
    """How many there are."""
    dimension: int = 16
    """Of a code."""
    codebook: Literal["gradient", "averages"] = "averages"
    """How the codes learn: by the codebook loss, or as moving averages of what they stand for, with restarts."""
    decay: float = 0.99
    """Of these averages."""
    commitment: float = 0.25
    """Beta, the weight of the loss that keeps the encoder's outputs near their codes."""
    width: int = 64
    """Channels at the lowest resolution."""
    blocks: int = 2
    """Residual blocks of encoder and decoder."""
    hidden: int = 32
    """Channels within a residual block."""
    learning_rate: float = 1e-3
    """Of Adam."""
    prior_width: int = 32
    """Channels of the prior."""
    prior_blocks: int = 4
    """Its layers."""
    prior_dropout: float = 0.2
    """Share of its units that drop."""
    prior_learning_rate: float = 1e-3
    """Of its Adam."""


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

    def figures(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        error = model.squared_error(variables, batch["x"], batch.get("context")).mean()
        scaled = {} if levels is None else {"squared error of [0, 1]": error / (levels - 1) ** 2}
        return {"squared error": error, **scaled}

    def report(bound: TrainedModel) -> Mapping[str, float]:
        found = codes(bound, data.test, config.eval_batch)
        counts = np.bincount(np.asarray(found).ravel(), minlength=config.codes)
        varied, used = perplexity(jnp.asarray(counts)), (counts > 0).mean()
        return {"perplexity": float(varied), "share of codes in use": float(used)}

    def means(bound: TrainedModel) -> Any:
        real = data.test.head(SAMPLES)
        x = bound.sample(jax.random.key(config.seed), len(real["x"]), real.get("context"), True)
        return plotting.samples(x, real["x"], "means of codes from the prior")

    pictures = {"means": means} if plotting.drawable(data.test.head(1)["x"]) else {}
    # nothing in an evaluation is drawn
    return Experiment(model, optimizers=optimizers, figures=figures, report=report, pictures=pictures, draws=1)


if __name__ == "__main__":
    main(VQVAEConfig, build, PUBLISHED)
