"""Normalizing flows."""

from jaxgen.models.flows.flow import Flow
from jaxgen.models.flows.real_nvp import real_nvp_image, real_nvp_vector
