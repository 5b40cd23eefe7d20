"""SRFlow (Lugmayr et al. 2020, arXiv:2006.14200): super-resolution by a Glow on features of the low resolution.

Result on digits by `--seeds 2`, two minutes on one core: 1.615 bits/dim, 18.60 +- 0.23 dB for the mean of 16 samples
(bicubic 13.50, linear regression 17.03), 31.44 +- 0.09 dB for the low resolution of a sample, a diversity of 1.16 +-
0.03 grey levels of 17. At this size the RealNVP of `experiments.flows.super_resolution` is better after as many
steps: 1.483 bits/dim, 19.18 dB, 33.22 dB and 1.12. On colour patches SRFlow is better, by `--data patches
--batch-size 16 --steps 300` in three minutes: 3.298 bits/dim, 31.00 dB, 31.32 dB, 5.46 of 256 levels, and the RealNVP
3.593, 28.80 dB, 29.63 dB, 4.80; so soon both are far below bicubic up-sampling, 42.01 dB. The paper's set-up was not
run.

An encoder of residual-in-residual dense blocks learns with the flow; its features condition every affine injector and
coupling. Metrics, baselines and plots are those of `experiments.flows.super_resolution`, which has another network. The
defaults are those of a first run, 4 x 4 to 8 x 8 digits; `--data patches` goes from 16 x 16 to 32 x 32 in colour.
`--preset paper` is the set-up for faces of 160 x 160 pixels, where the encoder is trained before on an L1 loss
(`fit(start={"encoder": ...})`) and learns in the second half of the steps.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import optax

from experiments.config import Experiment
from experiments.flows.super_resolution import ConditionalConfig, super_resolution
from experiments.likelihood import experiment, image_shape, optimizer
from experiments.run import main
from jaxgen.bijectors import Affine, Logit, SigmoidAffine, TanhAffine
from jaxgen.data import Splits
from jaxgen.models.flows.sr_flow import sr_flow
from jaxgen.nets.rrdb import RRDBEncoder
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative

COUPLINGS = {"tanh": TanhAffine, "sigmoid": SigmoidAffine}


@dataclass(frozen=True, kw_only=True)
class SRFlowConfig(ConditionalConfig):
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {},
        "paper": {
            "factor": 8, "scales": 4, "depth": 16, "width": 64, "blocks": 8, "features": 64, "growth": 32, "alpha": 0.0,
            "steps": 200_000, "batch_size": 16, "learning_rate": 5e-4, "schedule": "halved", "freeze": 0.5,
        },
    }  # fmt: skip
    preset: Literal["small", "paper"] = "small"
    """Defaults: those of a first run, or the paper's."""
    steps: Count = 400
    batch_size: Count = 64
    learning_rate: NonNegative = 2e-3
    schedule: Literal["cosine", "constant", "halved"] = "cosine"
    """Learning rate after the warm-up: cosine decay to zero, or constant. Halved: the paper's, without a warm-up, half
    as large after each of 50, 75, 90 and 95 % of the steps, with Adam's b2 = 0.99."""
    freeze: Fraction = 0.0
    """Fraction of the steps, from the first, in which the encoder does not learn."""
    temperature: NonNegative = 0.9
    """Scale of the latents of samples, in metrics that do not name another, and in plots."""
    scales: Count = 2
    """Resolutions; each halves height and width."""
    depth: Count = 4
    """Steps in each scale."""
    width: Count = 32
    """Channels of the two hidden layers of a coupling or an injector."""
    blocks: Count = 2
    """Residual-in-residual dense blocks of the encoder."""
    features: Count = 16
    """Channels of the encoder."""
    growth: Count = 8
    """Channels of the convolutions in a dense block."""
    transitions: Natural = 2
    """Steps of ActNorm and 1x1 convolution alone, after each squeeze."""
    injectors: bool = True
    """Affine injectors in each step."""
    coupling: Literal["tanh", "sigmoid"] = "tanh"
    """Scale of couplings and injectors: exp(2 tanh(a / 2)), or sigmoid(a + 2), as in the authors' code."""
    alpha: NonNegative = 0.05
    """Pixels x in [0, 1] enter as logit(alpha + (1 - 2 alpha) x); 0: as x - 1/2."""
    gradient: Literal["store", "rematerialize", "reverse"] = "store"
    """What the backward pass stores: all activations, the inputs of each step, or nothing (it inverts the flow)."""


def build(config: SRFlowConfig, data: Splits) -> Experiment:
    return super_resolution(config, data, _flow)


def _flow(config: SRFlowConfig, data: Splits) -> Experiment:
    event_shape, levels = image_shape(config, data)
    model = sr_flow(
        event_shape, num_levels=levels, num_scales=config.scales, depth=config.depth, width=config.width,
        encoder=RRDBEncoder(config.features, config.blocks, config.growth), transition_steps=config.transitions,
        injectors=config.injectors, transformer=COUPLINGS[config.coupling](),
        preprocess=Logit(config.alpha) if config.alpha else Affine(-0.5), gradient=config.gradient,
    )
    return experiment(config, data, model, optimizers={"flow": _optimizer(config)})


def _optimizer(config: SRFlowConfig) -> optax.GradientTransformation:
    whole = optimizer(config)
    if config.schedule == "halved":
        halvings = {int(fraction * config.steps): 0.5 for fraction in (0.5, 0.75, 0.9, 0.95)}
        adam = optax.adam(optax.piecewise_constant_schedule(config.learning_rate, halvings), b2=0.99)
        whole = optax.chain(optax.clip_by_global_norm(config.clip), adam)
    thaw = optax.scale_by_schedule(lambda step: step >= config.freeze * config.steps)
    parts = optax.partition({"flow": optax.identity(), "encoder": thaw}, {"flow": "flow", "encoder": "encoder"})
    return optax.chain(whole, parts) if config.freeze else whole


if __name__ == "__main__":
    main(SRFlowConfig, build)
