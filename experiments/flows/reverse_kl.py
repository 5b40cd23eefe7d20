"""Fitting a density that is known up to a constant, by reverse KL with the path-derivative gradient.

An inverse autoregressive flow (Kingma et al. 2016, arXiv:1606.04934) is fitted to the unnormalised density of `--data
banana`, `funnel` or `ring` without a look at draws from it; those only rate the result (`log_prob`). Importance weights
then estimate the constant: `log_normalizer_error` is how far off its logarithm is, `effective_share` the share of draws
that count.
"""

from dataclasses import dataclass
from typing import Literal

from experiments.likelihood import LikelihoodConfig, optimizer
from experiments.shell import Experiment, main
from jaxgen.data import Splits
from jaxgen.distributions import Banana, Funnel, Ring
from jaxgen.models.flows import ReverseKL, iaf, real_nvp_vector

TARGETS = {"banana": Banana, "funnel": Funnel, "ring": Ring}


@dataclass(frozen=True, kw_only=True)
class ReverseKLConfig(LikelihoodConfig):
    data: str = "banana"
    """The target: `banana`, `funnel` or `ring`."""
    steps: int = 3000
    batch_size: int = 512
    """Draws of a step."""
    eval_batch: int = 10_000
    eval_every: int = 500
    checkpoint_every: int = 1000
    structure: Literal["iaf", "coupling"] = "iaf"
    """Inverse autoregressive layers, or affine couplings."""
    depth: int = 6
    """Layers, or pairs of couplings."""
    width: int = 64
    """Units of each of a network's two hidden layers."""
    path_derivative: bool = True
    """False differentiates log q through the flow's parameters too."""
    clip: float = 10.0


def build(config: ReverseKLConfig, data: Splits) -> Experiment:
    if config.data not in TARGETS:
        raise ValueError(f"data={config.data!r} was given; a target is needed, one of {', '.join(TARGETS)}")
    make = iaf if config.structure == "iaf" else real_nvp_vector
    flow = make(2, config.depth, (config.width,) * 2)
    model = ReverseKL(flow, TARGETS[config.data](), config.path_derivative)
    (name, play), = model.plays().items()
    return Experiment(model, {name: play._replace(optimizer=optimizer(config))})


if __name__ == "__main__":
    main(ReverseKLConfig, build)
