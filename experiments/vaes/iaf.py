"""A variational autoencoder whose posterior is an inverse autoregressive flow (Kingma et al. 2016, arXiv:1606.04934).

The encoder gives a normal sample and features h. Each layer of the flow transforms z to z' = s (z + t), where a masked
network computes t and the gate s, which starts near one, from the earlier coordinates and h; the order is reversed
between layers. Sampling and the density of a sample are fast; other points are never evaluated. `--depth 0` is the same
autoencoder with the normal posterior. Dense networks as in Burda et al. 2016 replace the paper's residual convolutions,
which reach a bound of 80.08 nats on dynamically binarized MNIST (table 1); on the fixed binarization of Larochelle and
Murray 2011, normal posteriors and dense networks reach about 87 to 90 nats.
"""

import dataclasses
from dataclasses import dataclass

from flax import linen as nn

from experiments.autoencoding import AutoencoderConfig, autoencoder, experiment
from experiments.config import Experiment
from experiments.run import main
from jaxgen.bijectors import Bijector, Chain, Invert, MaskedAutoregressive, Permute, Repeat, SigmoidAffine
from jaxgen.data import Splits
from jaxgen.models.vaes import FlowPosterior
from jaxgen.training.ranges import Count, Natural


@dataclass(frozen=True, kw_only=True)
class IAFConfig(AutoencoderConfig):
    batch_size: Count = 100
    depth: Natural = 2
    """Layers of the posterior's flow; 0: a normal posterior."""
    flow_width: Count = 320
    """Hidden units of a layer's masked network, which has one hidden layer."""


def inverse_autoregressive(depth: int, width: int) -> Bijector:
    """From z to the encoder's normal sample, the direction of posteriors; sampling is the fast direction."""
    layer = Invert(MaskedAutoregressive(SigmoidAffine(), (width,), nn.elu))
    return Repeat(Chain((layer, Permute("reverse"))), depth)


def build(config: IAFConfig, data: Splits) -> Experiment:
    model = autoencoder(config, data)
    if config.depth:
        posterior = FlowPosterior(inverse_autoregressive(config.depth, config.flow_width))
        model = dataclasses.replace(model, posterior=posterior)
    return experiment(config, data, model)


if __name__ == "__main__":
    main(IAFConfig, build)
