"""NICE (Dinh et al. 2015, arXiv:1410.8516), table 1: 1980.50 nats on MNIST, which are 4.36 bits/dim.

Four additive couplings between the even and the odd pixels, five hidden layers of 1000 ReLUs each, a learned scale of
each dimension and a logistic prior, on noisy pixels in [0, 1). The paper trains 1500 epochs by Adam at 1e-3; in a short
run the scales need `--learning-rate 1e-2` to get anywhere. Their spectrum, `spectrum.png`, shows in how many dimensions
the data vary (section 5.2).
"""

from dataclasses import dataclass
from typing import Literal

from experiments.likelihood import LikelihoodConfig, experiment
from experiments.shell import Experiment, Published, main
from jaxgen.data import Splits
from jaxgen.distributions import Logistic, StandardNormal
from jaxgen.models.flows.nice import nice, sigmas

PUBLISHED = {
    data: Published("bits_per_dim", 4.36, "Dinh et al. 2015, table 1: 1980.50 nats")
    for data in ("tfds:mnist", "mnist.npz")
}
PRIORS = {"logistic": Logistic, "normal": StandardNormal}


@dataclass(frozen=True, kw_only=True)
class NICEConfig(LikelihoodConfig):
    couplings: int = 4
    """Additive couplings, in turns over even and odd coordinates."""
    hidden_layers: int = 5
    """Of each coupling's network."""
    width: int = 1000
    """Units of a hidden layer."""
    prior: Literal["logistic", "normal"] = "logistic"
    """The density of the latents."""


def build(config: NICEConfig, data: Splits) -> Experiment:
    widths = (config.width,) * config.hidden_layers
    model = nice(data.train.event_shape, data.train.levels, config.couplings, widths, base=PRIORS[config.prior])
    return experiment(config, data, model)._replace(pictures={"spectrum": spectrum})


def spectrum(bound):
    """The learned scales of the prior, from the largest down."""
    from jaxgen import plotting

    return plotting.spectrum(sigmas(bound.variables))


if __name__ == "__main__":
    main(NICEConfig, build, PUBLISHED)
