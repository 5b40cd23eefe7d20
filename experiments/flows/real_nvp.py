"""RealNVP (Dinh et al. 2017, "Density estimation using Real NVP", arXiv:1605.08803), table 1: 3.49 bits/dim on CIFAR-10.

Affine couplings with checkerboard, then channel masks, factored out scale by scale, on logits of data squeezed into
(alpha, 1 - alpha); here with activation normalisation between couplings in place of the paper's batch normalisation.
The defaults are those of a first run, two minutes on two cores; the paper's on CIFAR-10 are `--width 64 --blocks 8
--batch-size 64` and some hundred thousand steps.
"""

from dataclasses import dataclass

import optax

from experiments.baselines import bits_per_dim
from experiments.shell import Config, Experiment, Published, main
from jaxgen.data import Splits
from jaxgen.models.flows.real_nvp import real_nvp_image, real_nvp_vector

PUBLISHED = {"tfds:cifar10": Published("bits_per_dim", 3.49, "Dinh et al. 2017, table 1")}


@dataclass(frozen=True, kw_only=True)
class RealNVPConfig(Config):
    steps: int = 600
    ema: float = 0.99
    log_every: int = 20
    eval_every: int = 100
    eval_draws: int = 4
    checkpoint_every: int = 200
    width: int = 32
    """Channels of a conditioner's convolutions; units of its two layers on vectors."""
    scales: int = 2
    """Resolutions of an image."""
    depth: int = 2
    """Pairs of couplings for each mask and scale."""
    blocks: int = 1
    """Residual blocks of a conditioner on images."""
    alpha: float = 0.05
    """The logit is of alpha + (1 - 2 alpha) x."""
    learning_rate: float = 1e-3
    """Of AdamW, after a warm-up of 100 steps; it falls to zero along a cosine."""
    weight_decay: float = 1e-2
    """Of AdamW."""


def build(config: RealNVPConfig, data: Splits) -> Experiment:
    event_shape, levels = data.train.event_shape, data.train.levels
    if (len(event_shape) == 3) != (levels is not None) or len(event_shape) not in (1, 3):
        raise ValueError(
            f"data={config.data!r} has rows of shape {event_shape} and levels={levels}: integer images [H, W, C] or "
            "real-valued vectors are needed"
        )
    if levels is not None:
        shape = dict(scales=config.scales, depth=config.depth, width=config.width, blocks=config.blocks)
        model, baselines = real_nvp_image(event_shape, levels, alpha=config.alpha, **shape), bits_per_dim(data)
    else:
        model, baselines = real_nvp_vector(event_shape[0], config.depth, (config.width,) * 2), {}
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, min(100, config.steps // 10), config.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(50.0), optax.adamw(rate, weight_decay=config.weight_decay))
    plays = {name: play._replace(optimizer=optimizer) for name, play in model.plays().items()}
    return Experiment(model, plays, baselines=baselines)


if __name__ == "__main__":
    main(RealNVPConfig, build, PUBLISHED)
