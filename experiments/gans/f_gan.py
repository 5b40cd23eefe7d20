"""f-GAN (Nowozin et al. 2016, arXiv:1606.00709): the variational bound of any f-divergence.

The critic's outputs pass through the divergence's own activation, and its loss is minus a lower bound on the
divergence; `score_gap` is computed before the activation. `--alternative` is the generator's loss of section 3.2.
"""

from dataclasses import dataclass
from typing import Literal

from experiments.adversarial import AdversarialConfig, experiment, fields, networks
from experiments.config import Experiment
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.losses import F_DIVERGENCES
from jaxgen.models.gans import GAN, FDivergence


@dataclass(frozen=True, kw_only=True)
class FGANConfig(AdversarialConfig):
    divergence: Literal[tuple(F_DIVERGENCES)] = "pearson"
    """The f-divergence to minimise."""
    alternative: bool = False
    """Use the non-saturating generator loss of section 3.2."""


def build(config: FGANConfig, data: Splits) -> Experiment:
    loss = FDivergence(F_DIVERGENCES[config.divergence], config.alternative)
    return experiment(config, data, GAN(*networks(config, data), **fields(config, data), adversarial_loss=loss))


if __name__ == "__main__":
    main(FGANConfig, build)
