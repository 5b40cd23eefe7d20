"""Variational autoencoders."""

from jaxgen.models.vaes.vae import VAE, conv_vae, dense_vae
