"""The decoder of an autoencoding critic, the mirror image of its encoder."""

from __future__ import annotations

from flax import linen as nn

from experiments.adversarial import AdversarialConfig
from jaxgen.data import Splits
from jaxgen.nets import MLP, ConvDecoder
from jaxgen.nets.decoders import halved, halvings

CODE = 64
"""Units of the narrowest layer."""


def decoder(config: AdversarialConfig, data: Splits) -> nn.Module:
    """Maps the critic's features, through a layer of `CODE` units, to features at the data's resolution."""
    if config.network == "dense":
        return MLP((CODE, config.width, config.width))
    doublings, shape = halvings(data.train.event_shape), data.train.event_shape
    widths = tuple(config.width << i for i in reversed(range(doublings)))
    image = ConvDecoder(halved(shape, doublings), (*widths, config.width), nn.relu)
    return nn.Sequential((MLP((CODE,)), image))
