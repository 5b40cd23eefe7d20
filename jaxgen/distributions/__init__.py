"""Base densities, likelihoods and dequantization."""

from jaxgen.distributions.concrete import concrete_log_density, gumbel_softmax
from jaxgen.distributions.dequantization import Dequantization, UniformDequantization, quantize
from jaxgen.distributions.diagonal_normal import DiagonalNormal
from jaxgen.distributions.discretized import DiscretizedLogistic, DiscretizedLogisticMixture
from jaxgen.distributions.gaussian_process import GaussianProcess
from jaxgen.distributions.inverse_cdf import sample_categorical
from jaxgen.distributions.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood, OptimalGaussian
from jaxgen.distributions.logistic import Logistic
from jaxgen.distributions.normal import StandardNormal
from jaxgen.distributions.radial_mixture import RadialMixture
from jaxgen.distributions.signs import Signs
from jaxgen.distributions.standard import StandardDistribution
from jaxgen.distributions.unnormalized import Banana, Funnel, GaussianRing, UnnormalizedDensity
from jaxgen.distributions.uniform import Uniform

__all__ = [
    "Banana", "Bernoulli", "Categorical", "Dequantization", "DiagonalNormal", "DiscretizedLogistic",
    "DiscretizedLogisticMixture", "Funnel", "Gaussian", "GaussianProcess", "GaussianRing", "Likelihood", "Logistic",
    "OptimalGaussian",
    "RadialMixture", "Signs", "StandardDistribution", "StandardNormal", "Uniform", "UniformDequantization",
    "UnnormalizedDensity", "concrete_log_density", "gumbel_softmax", "quantize", "sample_categorical",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
