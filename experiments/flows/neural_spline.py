"""Neural spline flows (Durkan et al. 2019, arXiv:1906.04032), table 1: 157.54 nats on BSDS300 by couplings, 157.31
autoregressive; table 4: 3.38 bits/dim on CIFAR-10.

Result: 152.4 nats on BSDS300 after 9,000 of the paper's 400,000 steps, 15 minutes on two cores, by `python -m
experiments.studies.flows --section bsds300`; the paper has 157.54.

The paper's on BSDS300 are `--depth 20 --width 128 --blocks 1 --dropout 0.2 --batch-size 512 --learning-rate 5e-4
--steps 400000`, and gradients clipped to norm 5. For images: Glow's architecture with spline couplings.
"""

from dataclasses import dataclass
from typing import Literal

from experiments.likelihood import LikelihoodConfig, experiment, image_shape
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.models.flows.neural_spline import (
    neural_spline_autoregressive,
    neural_spline_coupling,
    neural_spline_image,
)
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative

PUBLISHED = {
    "tfds:cifar10": Published("bits_per_dim", 3.38, "Durkan et al. 2019, table 4", 200_000),
    "bsds300.npz": Published("log_prob", 157.54, "Durkan et al. 2019, table 1: RQ-NSF (C)", 400_000),
}


@dataclass(frozen=True, kw_only=True)
class NeuralSplineConfig(LikelihoodConfig):
    structure: Literal["coupling", "autoregressive"] = "coupling"
    """Structure on vectors; images always use couplings."""
    depth: Count = 5
    """Steps, in each scale of an image."""
    width: Count = 64
    """Units or channels of a hidden layer."""
    blocks: Natural = 2
    """Residual blocks of a coupling's network on vectors; hidden layers of a masked network."""
    scales: Count = 2
    """Resolutions of an image."""
    bins: Count = 8
    """Bins of each spline."""
    bound: NonNegative = 3.0
    """Splines act on [-bound, bound]."""
    dropout: Fraction = 0.0
    """Dropout rate of the couplings' networks on vectors."""


def build(config: NeuralSplineConfig, data: Splits) -> Experiment:
    event_shape, spline = data.train.event_shape, {"bins": config.bins, "bound": config.bound}
    if len(event_shape) == 1 and data.train.levels is None:
        if config.structure == "coupling":
            model = neural_spline_coupling(
                *event_shape, depth=config.depth, width=config.width, blocks=config.blocks, dropout=config.dropout,
                **spline,
            )
        else:
            widths = (config.width,) * config.blocks
            model = neural_spline_autoregressive(*event_shape, depth=config.depth, widths=widths, **spline)
    else:
        event_shape, levels = image_shape(config, data)
        model = neural_spline_image(
            event_shape, num_levels=levels, num_scales=config.scales, depth=config.depth, width=config.width, **spline
        )
    return experiment(config, data, model)


if __name__ == "__main__":
    main(NeuralSplineConfig, build, PUBLISHED)
