"""Variational autoencoders."""

from jaxgen.models.vaes.aae import AAE, Prior
from jaxgen.models.vaes.aavae import AAVAE
from jaxgen.models.vaes.ali import ALI
from jaxgen.models.vaes.avb import AVB
from jaxgen.models.vaes.beta_tcvae import TotalCorrelation
from jaxgen.models.vaes.beta_vae import Capacity
from jaxgen.models.vaes.builders import conv_vae, dense_vae, residual_vae
from jaxgen.models.vaes.cvae import conditional_vae
from jaxgen.models.vaes.iwae import IWAE, importance_weighted
from jaxgen.models.vaes.m2 import M2
from jaxgen.models.vaes.objectives import ELBO, Objective, Terms
from jaxgen.models.vaes.sequence_vae import QuantizedSequenceVAE, SequenceVAE, recurrent_vae
from jaxgen.models.vaes.vae import VAE, extended, lagging_inference
from jaxgen.models.vaes.vq_vae import VQVAE, residual_vq_vae

__all__ = [
    "AAE", "AAVAE", "ALI", "AVB", "Capacity", "ELBO", "IWAE", "M2", "Objective", "Prior", "QuantizedSequenceVAE",
    "SequenceVAE", "Terms", "TotalCorrelation", "VAE", "VQVAE", "conditional_vae", "conv_vae", "dense_vae",
    "extended", "importance_weighted", "lagging_inference", "recurrent_vae", "residual_vae", "residual_vq_vae",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
