"""EBGAN (Zhao et al. 2017, arXiv:1609.03126): the critic is an autoencoder, its error an energy.

With the pulling-away term (EBGAN-PT) of weight 0.1; the paper searches margins and networks on MNIST by a modified
Inception score. Energies are means over coordinates on [-1, 1], margins likewise.
"""

from dataclasses import dataclass

from experiments.adversarial import AdversarialConfig, experiment, fields, networks
from experiments.gans.autoencoding_critic import decoder
from experiments.shell import Experiment, main
from jaxgen.data import Splits
from jaxgen.models.gans import EBGAN, Energy, PullingAway


@dataclass(frozen=True, kw_only=True)
class EBGANConfig(AdversarialConfig):
    margin: float = 0.2
    """The energy that samples are given at the least."""
    pulling_away: float = 0.1
    """Weight of the term that keeps the codes of a batch of samples apart."""


def build(config: EBGANConfig, data: Splits) -> Experiment:
    model = EBGAN(
        *networks(config, data), **fields(config, data), adversarial_loss=Energy(config.margin),
        decoder=decoder(config, data), terms=(PullingAway(config.pulling_away),) if config.pulling_away else (),
    )  # fmt: skip
    return experiment(config, data, model)


if __name__ == "__main__":
    main(EBGANConfig, build)
