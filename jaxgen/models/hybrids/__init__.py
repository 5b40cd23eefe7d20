"""Hybrids: encoders, generators, classifiers and critics joined."""

from jaxgen.models.hybrids.cvae_gan import CVAEGAN
from jaxgen.models.hybrids.feature_vae import FeatureVAE
from jaxgen.models.hybrids.gate import Gate, waiting
from jaxgen.models.hybrids.style_gan import PathLength, StyleGAN
from jaxgen.models.hybrids.vae_gan import AUTHORS, VAEGAN

__all__ = ["AUTHORS", "CVAEGAN", "FeatureVAE", "Gate", "PathLength", "StyleGAN", "VAEGAN", "waiting"]
__dir__ = __all__.copy  # tab completion
