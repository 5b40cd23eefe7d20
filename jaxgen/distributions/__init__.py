from jaxgen.distributions.dequantization import Dequantization, UniformDequantization, quantize
from jaxgen.distributions.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian, Likelihood
from jaxgen.distributions.logistic import Logistic
from jaxgen.distributions.normal import Normal
from jaxgen.distributions.targets import Banana, Funnel, Ring, Target
