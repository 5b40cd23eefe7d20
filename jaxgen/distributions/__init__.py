from jaxgen.distributions.dequantization import UniformDequantization
from jaxgen.distributions.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian, Likelihood
from jaxgen.distributions.normal import Normal
