from jaxgen.distributions.dequantization import UniformDequantization
from jaxgen.distributions.normal import Normal
