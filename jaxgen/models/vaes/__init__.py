"""Variational autoencoders."""

from jaxgen.models.codebook import Codebook
from jaxgen.models.vaes.aae import AAE
from jaxgen.models.vaes.aavae import AAVAE
from jaxgen.models.vaes.ali import ALI
from jaxgen.models.vaes.avb import AVB
from jaxgen.models.vaes.beta_tcvae import TotalCorrelation
from jaxgen.models.vaes.beta_vae import Capacity
from jaxgen.models.vaes.builders import conv_vae, dense_vae, recurrent_vae, residual_vae, residual_vq_vae
from jaxgen.models.vaes.cvae import conditional_vae
from jaxgen.models.vaes.initialization import BurdaInitializer
from jaxgen.models.vaes.lagging import lagging_inference
from jaxgen.models.vaes.m2 import M2
from jaxgen.models.vaes.objectives import ELBO, BoundTerms, ImportanceWeighted, Objective
from jaxgen.models.vaes.posteriors import (
    FlowPosterior,
    ImplicitPosterior,
    NormalPosterior,
    Posterior,
    QuantizedPosterior,
)
from jaxgen.models.vaes.priors import ContextPrior, FlowPrior, Prior, StandardPrior, UniformCodes
from jaxgen.models.vaes.sequence_vae import SequenceVAE
from jaxgen.models.vaes.vae import VAE
from jaxgen.models.vaes.vq_vae import VQVAE

__all__ = [
    "AAE", "AAVAE", "ALI", "AVB", "BoundTerms", "BurdaInitializer", "Capacity", "Codebook", "ContextPrior", "ELBO",
    "FlowPosterior", "FlowPrior", "ImplicitPosterior", "ImportanceWeighted", "M2", "NormalPosterior", "Objective",
    "Posterior", "Prior", "QuantizedPosterior", "SequenceVAE", "StandardPrior", "TotalCorrelation", "UniformCodes",
    "VAE", "VQVAE", "conditional_vae", "conv_vae", "dense_vae", "lagging_inference", "recurrent_vae",
    "residual_vae", "residual_vq_vae",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
