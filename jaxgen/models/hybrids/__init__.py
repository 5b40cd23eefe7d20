"""Hybrids: encoders, generators, classifiers and critics joined."""

from jaxgen.models.hybrids.alae import ALAE
from jaxgen.models.hybrids.channel_search import Candidate, multiply_adds, search_channels
from jaxgen.models.hybrids.code_prior import CodePrior
from jaxgen.models.hybrids.compression import DistilledPix2Pix, taught_by
from jaxgen.models.hybrids.cvae_gan import CVAEGAN
from jaxgen.models.hybrids.feature_vae import FeatureVAE
from jaxgen.models.hybrids.ganomaly import GANomaly
from jaxgen.models.hybrids.gate import Gate, waiting
from jaxgen.models.hybrids.glann import GLANN
from jaxgen.models.hybrids.glo import GLO
from jaxgen.models.hybrids.quantized_autoencoder import QuantizedAutoencoder
from jaxgen.models.hybrids.singan import SinGAN
from jaxgen.models.hybrids.style_gan import PathLength, StyleGAN
from jaxgen.models.hybrids.vae_gan import VAEGAN
from jaxgen.models.hybrids.vfunc import VFunc
from jaxgen.models.hybrids.vqgan import TAMING, VQGAN

__all__ = [
    "ALAE", "CVAEGAN", "Candidate", "CodePrior", "DistilledPix2Pix", "FeatureVAE", "GANomaly", "GLANN",
    "GLO",
    "Gate", "PathLength", "QuantizedAutoencoder", "SinGAN", "StyleGAN", "TAMING", "VAEGAN", "VFunc", "VQGAN",
    "multiply_adds", "search_channels", "taught_by", "waiting",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
