"""Invertible Flax modules from data to latents, with their log-determinants."""

from jaxgen.bijectors.act_norm import ActNorm
from jaxgen.bijectors.affine_injector import AffineInjector
from jaxgen.bijectors.autoregressive import MaskedAutoregressive
from jaxgen.bijectors.batch_norm import BatchNorm
from jaxgen.bijectors.bijector import Bijector, event_axes, sum_over_event, zero_log_det
from jaxgen.bijectors.compose import Chain, FirstHalf, Invert, Repeat, reverses
from jaxgen.bijectors.conditional_normal import ConditionalNormal, factor_out
from jaxgen.bijectors.coupling import Coupling, SharedHead, ZeroHead
from jaxgen.bijectors.elementwise import (
    Affine, Elementwise, LeakyReLU, Logit, Probit, Sigmoid, Softplus, Tanh,
)
from jaxgen.bijectors.linear import InvertibleLinear
from jaxgen.bijectors.logistic_mixture import LogisticMixtureCDF
from jaxgen.bijectors.masks import Alternate, Checkerboard, Halves
from jaxgen.bijectors.rearrange import Permute, Reshape, Squeeze
from jaxgen.bijectors.reversible import reconstruction_error
from jaxgen.bijectors.scale import Scale
from jaxgen.bijectors.spline import RationalQuadraticSpline, rational_quadratic_spline
from jaxgen.bijectors.transformers import (
    Additive, LearnedTanhAffine, SigmoidAffine, TanhAffine, Transformer, split_parameters,
)

__all__ = [
    "ActNorm", "Additive", "Affine", "AffineInjector", "Alternate", "BatchNorm", "Bijector", "Chain", "Checkerboard",
    "ConditionalNormal", "Coupling", "Elementwise", "FirstHalf", "Halves", "Invert", "InvertibleLinear",
    "LeakyReLU", "LearnedTanhAffine", "LogisticMixtureCDF", "Logit", "MaskedAutoregressive", "Permute", "Probit",
    "RationalQuadraticSpline", "Repeat", "Reshape", "Scale", "SharedHead", "Sigmoid", "SigmoidAffine", "Softplus",
    "Squeeze", "Tanh", "TanhAffine", "Transformer", "ZeroHead", "event_axes", "factor_out",
    "rational_quadratic_spline", "reconstruction_error", "reverses", "split_parameters", "sum_over_event",
    "zero_log_det",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
