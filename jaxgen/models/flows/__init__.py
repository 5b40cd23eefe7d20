"""Normalizing flows."""

from jaxgen.models.flows.flow import Flow
from jaxgen.models.flows.flow_plus_plus import flow_plus_plus
from jaxgen.models.flows.glow import glow
from jaxgen.models.flows.latents import Encoder
from jaxgen.models.flows.maf import iaf, maf, maf_image
from jaxgen.models.flows.neural_spline import (
    neural_spline_autoregressive,
    neural_spline_coupling,
    neural_spline_image,
)
from jaxgen.models.flows.nice import nice
from jaxgen.models.flows.real_nvp import real_nvp_image, real_nvp_vector
from jaxgen.models.flows.reverse_kl import ReverseKL
from jaxgen.models.flows.sr_flow import sr_flow
from jaxgen.models.flows.variational_dequantization import VariationalDequantization

__all__ = [
    "Encoder", "Flow", "ReverseKL", "VariationalDequantization", "flow_plus_plus", "glow", "iaf", "maf",
    "maf_image", "neural_spline_autoregressive", "neural_spline_coupling", "neural_spline_image", "nice",
    "real_nvp_image", "real_nvp_vector", "sr_flow",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
