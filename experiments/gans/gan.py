"""The generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661), dense.

The paper's 225 nats on MNIST by a Parzen window depend on the window more than on the model. The metrics here are the
distances of samples from the data and, for mixtures in the plane, the modes covered. `--criterion minimax` is the game
of its equation 1, whose generator learns little while the critic wins (section 3); `--proximal 1` penalises changes of
the generator's samples. Adam and rectified units replace dropout, momentum and maxout.
"""

from dataclasses import dataclass
from typing import Literal

from experiments.adversarial import AdversarialConfig, experiment, fields, networks
from experiments.config import Experiment
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.models.gans import GAN, Minimax, NonSaturating, Proximal
from jaxgen.training.ranges import Count, NonNegative


@dataclass(frozen=True, kw_only=True)
class GANConfig(AdversarialConfig):
    data: str = "gaussian_ring"
    steps: Count = 20_000
    batch_size: Count = 100
    network: Literal["dcgan", "residual", "dense"] = "dense"
    width: Count = 128
    latents: Count = 2
    criterion: Literal["non_saturating", "minimax"] = "non_saturating"
    """Generator loss: -E log D(G(z)), or E log(1 - D(G(z)))."""
    real_label: NonNegative = 1.0
    """Target of real examples; below 1: one-sided label smoothing."""
    proximal: NonNegative = 0.0
    """Weight of the squared distance to samples of an earlier generator."""
    proximal_every: Count = 10
    """Generator updates between copies of it."""


def build(config: GANConfig, data: Splits) -> Experiment:
    kind = {"non_saturating": NonSaturating, "minimax": Minimax}[config.criterion]
    model = GAN(
        *networks(config, data), **fields(config, data), adversarial_loss=kind(config.real_label),
        terms=(Proximal(config.proximal, config.proximal_every),) if config.proximal else (),
    )  # fmt: skip
    return experiment(config, data, model)


if __name__ == "__main__":
    main(GANConfig, build)
