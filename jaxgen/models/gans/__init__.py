"""Adversarial networks."""

from jaxgen.models.gans.acgan import ACGAN
from jaxgen.models.gans.began import BEGAN
from jaxgen.models.gans.bottleneck import BottleneckGAN
from jaxgen.models.gans.criteria import (
    BoundarySeeking,
    Criterion,
    Energy,
    FDivergence,
    Hinge,
    ImportanceWeighted,
    LeastSquares,
    Minimax,
    NonSaturating,
    Wasserstein,
)
from jaxgen.models.gans.ebgan import EBGAN
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.infogan import InfoGAN
from jaxgen.models.gans.localized import LocalizedGAN
from jaxgen.models.gans.optimizers import Adam, ClippedRMSProp, Optimizer
from jaxgen.models.gans.players import Critic, Generator, Judgement
from jaxgen.models.gans.proximal import Proximal
from jaxgen.models.gans.regularizers import DRAGAN, R1, R2, Consistency, GradientPenalty, Lazy, Penalty
from jaxgen.models.gans.semi_supervised import SemiSupervisedGAN
from jaxgen.models.gans.wgan_gp import dense_wgan_gp, residual_networks, residual_wgan_gp, wgan_gp

__all__ = [
    "ACGAN", "Adam", "BEGAN", "BottleneckGAN", "BoundarySeeking", "ClippedRMSProp", "Consistency", "Criterion",
    "Critic", "DRAGAN", "EBGAN", "Energy", "FDivergence", "GAN", "Generator", "GradientPenalty", "Hinge",
    "ImportanceWeighted", "InfoGAN", "Judgement", "Lazy", "LeastSquares", "LocalizedGAN", "Minimax",
    "NonSaturating", "Optimizer", "Penalty", "Proximal", "R1", "R2", "SemiSupervisedGAN", "Wasserstein",
    "dense_wgan_gp", "residual_networks", "residual_wgan_gp", "wgan_gp",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
