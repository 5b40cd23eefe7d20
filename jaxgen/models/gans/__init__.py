"""Generative adversarial networks."""

from jaxgen.models.gans.adaptive_augmentation import AdaptiveAugmentation
from jaxgen.models.gans.adversarial_losses import (
    AdversarialLoss,
    BoundarySeeking,
    Energy,
    Equilibrium,
    FDivergence,
    Hinge,
    ImportanceWeighted,
    LeastSquares,
    Minimax,
    NonSaturating,
    Wasserstein,
)
from jaxgen.models.gans.annealing import Annealing
from jaxgen.models.gans.began import BEGAN
from jaxgen.models.gans.bottleneck import Bottleneck
from jaxgen.models.gans.class_loss import ClassLoss
from jaxgen.models.gans.ebgan import EBGAN, PullingAway
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.information import Information
from jaxgen.models.gans.localized import LocalizedGAN
from jaxgen.models.gans.networks import Critic, CriticOutput, Generator
from jaxgen.models.gans.penalties import DRAGAN, R1, R2, Consistency, GradientPenalty, Lazy, Penalty
from jaxgen.models.gans.proximal import Proximal
from jaxgen.models.gans.rotations import Rotations
from jaxgen.models.gans.semi_supervised import SemiSupervisedGAN
from jaxgen.models.gans.terms import ForwardPass, Term
from jaxgen.models.gans.wgan import WGAN, rmsprop
from jaxgen.models.gans.wgan_gp import WGANGP, dense_wgan_gp, residual_networks, residual_wgan_gp

__all__ = [
    "AdaptiveAugmentation", "AdversarialLoss", "Annealing", "BEGAN", "Bottleneck", "BoundarySeeking", "ClassLoss",
    "Consistency", "Critic", "CriticOutput", "DRAGAN", "EBGAN", "Energy", "Equilibrium", "FDivergence", "ForwardPass",
    "GAN", "Generator", "GradientPenalty", "Hinge", "ImportanceWeighted", "Information", "Lazy", "LeastSquares",
    "LocalizedGAN", "Minimax", "NonSaturating", "Penalty", "Proximal", "PullingAway", "R1", "R2", "Rotations",
    "SemiSupervisedGAN", "Term", "WGAN", "WGANGP", "Wasserstein", "dense_wgan_gp", "residual_networks",
    "residual_wgan_gp", "rmsprop",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
