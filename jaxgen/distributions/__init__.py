from jaxgen.distributions.concrete import concrete_log_density, gumbel_softmax
from jaxgen.distributions.dequantization import Dequantization, UniformDequantization, quantize
from jaxgen.distributions.diagonal_normal import DiagonalNormal
from jaxgen.distributions.discretized import DiscretizedLogistic, DiscretizedLogisticMixture
from jaxgen.distributions.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood, OptimalGaussian
from jaxgen.distributions.logistic import Logistic
from jaxgen.distributions.normal import StandardNormal
from jaxgen.distributions.petals import Petals
from jaxgen.distributions.targets import Banana, Funnel, Ring, Target
from jaxgen.distributions.uniform import Uniform
