"""Glow (Kingma and Dhariwal 2018, arXiv:1807.03039), table 2: 3.35 bits/dim on CIFAR-10.

Result: 2.527 +- 0.014 bits/dim on 8x8 digits after 600 steps, a minute on two cores, by `python -m
experiments.studies.flows`. The paper's set-up on CIFAR-10 was not run.

Steps of ActNorm, an invertible 1x1 convolution and an affine coupling, at several scales. The defaults are those of a
first run on 8x8 digits; the paper's on CIFAR-10 are `--scales 3 --depth 32 --width 512 --batch-size 512`, learning rate
1e-3 after a warm-up of ten epochs. `--permutation reverse|shuffle|conv1x1` is its comparison of figure 3, and
`--gradient reverse` trains at any depth in the memory of one step.
"""

from dataclasses import dataclass
from typing import Literal

from experiments.flows.real_nvp import PERMUTATIONS
from experiments.likelihood import LikelihoodConfig, experiment, image_shape
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen.bijectors import Additive, SigmoidAffine
from jaxgen.data import Splits
from jaxgen.models.flows.glow import glow
from jaxgen.training.ranges import Count

PUBLISHED = {"tfds:cifar10": Published("bits_per_dim", 3.35, "Kingma and Dhariwal 2018, table 2")}
COUPLINGS = {"affine": SigmoidAffine, "additive": Additive}


@dataclass(frozen=True, kw_only=True)
class GlowConfig(LikelihoodConfig):
    scales: Count = 2
    """Resolutions; each halves height and width."""
    depth: Count = 8
    """Steps in each scale."""
    width: Count = 64
    """Channels of a coupling's two hidden layers."""
    permutation: Literal["reverse", "shuffle", "conv1x1"] = "conv1x1"
    """Mixing of channels in each step: reversal, a fixed random permutation, or a learned 1x1 convolution."""
    coupling: Literal["affine", "additive"] = "affine"
    """Transformer of the couplings."""
    gradient: Literal["store", "rematerialize", "reverse"] = "store"
    """What the backward pass stores: all activations, the inputs of each step, or nothing (it inverts the flow)."""


def build(config: GlowConfig, data: Splits) -> Experiment:
    event_shape, levels = image_shape(config, data)
    model = glow(
        event_shape, num_levels=levels, num_scales=config.scales, depth=config.depth, width=config.width,
        permutation=PERMUTATIONS[config.permutation], transformer=COUPLINGS[config.coupling](),
        gradient=config.gradient,
    )
    return experiment(config, data, model)


if __name__ == "__main__":
    main(GlowConfig, build, PUBLISHED)
