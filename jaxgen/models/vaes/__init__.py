"""Variational autoencoders."""

from jaxgen.models.vaes.objectives import ELBO, Objective, Terms
from jaxgen.models.vaes.vae import VAE, conv_vae, dense_vae, lagging_inference
