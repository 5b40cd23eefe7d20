"""Sequences: token generators, and time series."""

from jaxgen.models.sequences.rc_gan import RCGAN, rc_gan
from jaxgen.models.sequences.time_gan import TimeGAN
from jaxgen.models.sequences.time_gan_networks import time_gan

__all__ = ["RCGAN", "TimeGAN", "rc_gan", "time_gan"]
__dir__ = __all__.copy  # tab completion
