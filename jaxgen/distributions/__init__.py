"""Base densities, likelihoods and dequantization: `log_prob` and `sample`."""

from jaxgen.distributions.concrete import concrete_log_density, gumbel_softmax
from jaxgen.distributions.dequantization import Dequantization, UniformDequantization, quantize
from jaxgen.distributions.likelihoods import (
    Bernoulli,
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    Likelihood,
    OptimalGaussian,
)
from jaxgen.distributions.logistic import Logistic
from jaxgen.distributions.normal import Normal
from jaxgen.distributions.petals import Petals
from jaxgen.distributions.standard import Standard
from jaxgen.distributions.targets import Banana, Funnel, Ring, Target
from jaxgen.distributions.uniform import Uniform

__all__ = [
    "Banana", "Bernoulli", "Categorical", "Dequantization", "DiscretizedLogistic", "DiscretizedLogisticMixture",
    "Funnel", "Gaussian", "Likelihood", "Logistic", "Normal", "OptimalGaussian", "Petals", "Ring", "Standard",
    "Target", "Uniform", "UniformDequantization", "concrete_log_density", "gumbel_softmax", "quantize",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
