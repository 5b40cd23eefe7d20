"""Invertible Flax modules from data to latent, with their log-determinants."""

from jaxgen.bijectors.act_norm import ActNorm
from jaxgen.bijectors.autoregressive import MaskedAutoregressive
from jaxgen.bijectors.batch_norm import BatchNorm
from jaxgen.bijectors.bijector import Bijector, event_axes, sum_over_event, zero_log_det
from jaxgen.bijectors.compose import Chain, Invert, OnHalf, Repeat, reverses
from jaxgen.bijectors.coupling import Coupling, SharedHead, ZeroHead
from jaxgen.bijectors.elementwise import (
    Affine, Elementwise, LeakyReLU, Logit, Probit, Sigmoid, Softplus, Tanh,
)
from jaxgen.bijectors.linear import InvertibleLinear
from jaxgen.bijectors.logistic_mixture import LogisticMixtureTransformer
from jaxgen.bijectors.masks import Alternate, Checkerboard, Halves
from jaxgen.bijectors.prior import LearnedPrior, factor_out
from jaxgen.bijectors.rearrange import Permute, Reshape, Squeeze
from jaxgen.bijectors.reversible import reconstruction_error
from jaxgen.bijectors.scale import Scale
from jaxgen.bijectors.spline import SplineTransformer, rational_quadratic_spline
from jaxgen.bijectors.transformers import (
    AdditiveTransformer, AffineTransformer, LearnedBoundAffineTransformer, SigmoidAffineTransformer, Transformer,
    split_parameters,
)

__all__ = [
    "ActNorm", "AdditiveTransformer", "Affine", "AffineTransformer", "Alternate", "BatchNorm", "Bijector", "Chain",
    "Checkerboard", "Coupling", "Elementwise", "Halves", "Invert", "InvertibleLinear", "LeakyReLU",
    "LearnedBoundAffineTransformer", "LearnedPrior", "LogisticMixtureTransformer", "Logit", "MaskedAutoregressive",
    "OnHalf", "Permute", "Probit", "Repeat", "Reshape", "Scale", "SharedHead", "Sigmoid",
    "SigmoidAffineTransformer", "Softplus", "SplineTransformer", "Squeeze", "Tanh", "Transformer", "ZeroHead",
    "event_axes", "factor_out", "rational_quadratic_spline", "reconstruction_error", "reverses", "split_parameters",
    "sum_over_event", "zero_log_det",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
