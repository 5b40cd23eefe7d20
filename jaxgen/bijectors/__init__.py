"""Invertible Flax modules from data to latent, with their log-determinants."""

from jaxgen.bijectors.act_norm import ActNorm
from jaxgen.bijectors.bijector import Bijector
from jaxgen.bijectors.compose import Chain, Invert, OnHalf, Repeat
from jaxgen.bijectors.coupling import Coupling, ZeroHead
from jaxgen.bijectors.elementwise import (
    Affine, Elementwise, LeakyReLU, Logit, Probit, Sigmoid, Softplus, Tanh,
)
from jaxgen.bijectors.masks import Alternate, Checkerboard
from jaxgen.bijectors.prior import LearnedPrior, factor_out
from jaxgen.bijectors.rearrange import Permute, Squeeze
from jaxgen.bijectors.transformers import AdditiveTransformer, AffineTransformer, Transformer
