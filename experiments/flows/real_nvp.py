"""RealNVP (Dinh et al. 2017, arXiv:1605.08803), table 1: 3.49 bits/dim on CIFAR-10.

Result: 2.000 bits/dim on 8x8 digits with the defaults, a minute on two cores; a full-covariance Gaussian has 2.952. The
paper's set-up on CIFAR-10 was not run.

Affine couplings with checkerboard, then channel masks, factored out scale by scale under learned conditional priors, on
logits of data squeezed into (alpha, 1 - alpha). The defaults are for a short first run; the paper's
on CIFAR-10 are `--norm batch --width 64 --blocks 8 --learning-rate 1e-3` and some hundred thousand steps.
"""

from dataclasses import dataclass
from typing import Literal

from experiments.likelihood import LikelihoodConfig, experiment, image_shape
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen.bijectors import ActNorm, BatchNorm, InvertibleLinear, Permute
from jaxgen.data import Splits
from jaxgen.models.flows.real_nvp import real_nvp_image, real_nvp_vector
from jaxgen.training.ranges import Count, Natural, NonNegative

PUBLISHED = {"tfds:cifar10": Published("bits_per_dim", 3.49, "Dinh et al. 2017, table 1")}
NORMS = {"act": ActNorm, "batch": BatchNorm}


def reverse() -> Permute:
    return Permute("reverse")


PERMUTATIONS = {"reverse": reverse, "shuffle": Permute, "conv1x1": InvertibleLinear}


@dataclass(frozen=True, kw_only=True)
class RealNVPConfig(LikelihoodConfig):
    steps: Count = 400
    batch_size: Count = 64
    learning_rate: NonNegative = 2e-3
    width: Count = 32
    """Channels of a conditioner's convolutions; units of its two layers on vectors."""
    scales: Count = 2
    """Resolutions of an image."""
    depth: Count = 2
    """Pairs of couplings for each mask and scale."""
    blocks: Natural = 1
    """Residual blocks of a conditioner on images."""
    alpha: NonNegative = 0.05
    """Pixels x in [0, 1] enter the logit as alpha + (1 - 2 alpha) x."""
    norm: Literal["act", "batch"] = "act"
    """Normalisation before each coupling: ActNorm, or the paper's batch normalisation."""
    checkerboard: bool = True
    """If False, channel masks after the squeeze replace the checkerboard masks."""
    learned_priors: bool = True
    """If False, factored-out channels are standard normal."""
    permutation: Literal["reverse", "shuffle", "conv1x1"] | None = None
    """Mixing of channels before a coupling over halves of them; by default halves alternate (images), or features are
    shuffled before each pair (vectors)."""
    weight_decay: NonNegative = 1e-2


def build(config: RealNVPConfig, data: Splits) -> Experiment:
    event_shape, norm = data.train.event_shape, NORMS[config.norm]
    mixing = {} if config.permutation is None else {"permutation": PERMUTATIONS[config.permutation]}
    if len(event_shape) == 1 and data.train.levels is None:
        model = real_nvp_vector(*event_shape, depth=config.depth, widths=(config.width,) * 2, norm=norm, **mixing)
        return experiment(config, data, model)
    event_shape, levels = image_shape(config, data)
    model = real_nvp_image(
        event_shape, num_levels=levels, num_scales=config.scales, depth=config.depth, width=config.width,
        blocks=config.blocks, alpha=config.alpha,
        checkerboard=config.checkerboard, learned_priors=config.learned_priors, norm=norm, **mixing,
    )
    return experiment(config, data, model)


if __name__ == "__main__":
    main(RealNVPConfig, build, PUBLISHED)
