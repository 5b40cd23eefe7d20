"""Adversarial networks."""

from jaxgen.models.gans.wgan_gp import WGANGP, conv_wgan_gp, dense_wgan_gp
