"""EBGAN (Zhao et al. 2017, arXiv:1609.03126): the critic is an autoencoder, its error an energy.

With the pulling-away term (EBGAN-PT) of weight 0.1; the paper searches margins and networks on MNIST by a modified
Inception score. Energies are means over coordinates on [-1, 1], margins likewise.
"""

from dataclasses import dataclass

from experiments.adversarial import AdversarialConfig, experiment, fields, networks
from experiments.config import Experiment
from experiments.gans.autoencoding_critic import decoder
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.models.gans import EBGAN, Energy, PullingAway
from jaxgen.training.ranges import NonNegative


@dataclass(frozen=True, kw_only=True)
class EBGANConfig(AdversarialConfig):
    margin: NonNegative = 0.2
    """Margin: the critic raises the energy of samples up to it."""
    pulling_away: NonNegative = 0.1
    """Weight of the pulling-away term."""


def build(config: EBGANConfig, data: Splits) -> Experiment:
    model = EBGAN(
        *networks(config, data), **fields(config, data), adversarial_loss=Energy(config.margin),
        decoder=decoder(config, data), terms=(PullingAway(config.pulling_away),) if config.pulling_away else (),
    )  # fmt: skip
    return experiment(config, data, model)


if __name__ == "__main__":
    main(EBGANConfig, build)
