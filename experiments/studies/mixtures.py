"""Which GANs cover all modes, in the set-up of PacGAN's table 1 (Lin et al. 2018).

`python -m experiments.studies.mixtures`

Eight Gaussians on the unit circle (standard deviation 0.01) and 25 on a grid (0.05), 100,000 examples each. The
paper's generator has four layers of 400 units with batch normalisation, its critic three of 200 maxout units of five
pieces, the noise two dimensions; initial weights are from N(0, 0.02^2), Adam at 1e-4 (0.8), batches of 100, and 400
epochs are 400,000 steps. `--share 0.5` halves all widths. All games have the same networks, steps and batches; with
five critic steps per generator step the generator has a fifth of the updates. Seeds are trained side by side.

Metrics of 2,500 samples of the last variables: modes with at least one sample within three standard deviations (the
paper's count), modes with a quarter of an equal number, the fraction of samples within, and the reverse KL of the modes
of all samples; means over seeds with standard errors. Results after 20,000 steps at a quarter of the widths:
the GAN finds 8.0 of 8 and 20.0 of 25 modes, PacGAN2 8.0 and 23.3; the paper's find 6.3 and 17.3, 7.9 and 23.8.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import optax
from flax import linen as nn

from experiments.adversarial import MIXTURES
from experiments.studies import harness
from jaxgen import plotting
from jaxgen.data import source
from jaxgen.metrics.statistics import mean_and_error, with_error
from jaxgen.models.gans import (
    GAN,
    GradientPenalty,
    Hinge,
    LeastSquares,
    Minimax,
    Proximal,
    Wasserstein,
    rmsprop,
)
from jaxgen.nets import MLP, Maxout
from jaxgen.nets.initializers import small_normal
from jaxgen.nets.normalization import BatchNorm
from jaxgen.training import Settings, fit_seeds
from jaxgen.training.ranges import Between, Count

DATA = ("gaussian_ring", "gaussian_grid")
BATCH = 100
SAMPLES = 2_500
PER_CALL = 1_000
METRICS = {"modes": 1, "fair_modes": 1, "high_quality": 3, "reverse_kl": 3}
"""The metrics with their digits."""
PUBLISHED = {
    "GAN, gaussian_ring": (6.3, None, 0.982, 0.45),
    "GAN, gaussian_grid": (17.3, None, 0.948, 0.70),
    "PacGAN2, gaussian_ring": (7.9, None, 0.956, 0.07),
    "PacGAN2, gaussian_grid": (23.8, None, 0.913, 0.13),
}
"""Lin et al. 2018, table 1, in the order of `METRICS`."""
PAPER_STEPS = 400_000

Optimizers = Mapping[str, optax.GradientTransformation]
ADAM = dict.fromkeys(("critic", "generator"), optax.adam(1e-4, 0.8))
GAMES: Mapping[str, tuple[Mapping[str, Any], Optimizers]] = {
    "GAN": ({}, ADAM),
    "PacGAN2": ({"packing": 2}, ADAM),
    "GAN, minimax": ({"adversarial_loss": Minimax()}, ADAM),
    "GAN, proximal": ({"terms": (Proximal(1.0, 10),)}, ADAM),
    "LSGAN": ({"adversarial_loss": LeastSquares()}, ADAM),
    "hinge": ({"adversarial_loss": Hinge()}, ADAM),
    # initial weights from N(0, 0.02^2) are within the clipping range or near it
    "WGAN": (
        {"adversarial_loss": Wasserstein(), "critic_steps": 5},
        {"critic": rmsprop(5e-5, 0.01), "generator": rmsprop(5e-5)},
    ),
    "WGAN-GP": (
        {"adversarial_loss": Wasserstein(), "critic_steps": 5, "terms": (GradientPenalty(0.1),)},
        dict.fromkeys(("critic", "generator"), optax.adam(1e-4, 0.5, 0.9)),
    ),
}
"""For each game, the fields that differ from the plain game, and the optimizers."""


@dataclass(frozen=True, kw_only=True)
class Mixtures(harness.StudyConfig):
    steps: Count = 20_000
    """Batches of 100; the paper has 400,000."""
    seeds: Count = 3
    """Runs of each game; the paper has 10."""
    share: Annotated[float, Between(0, above=True)] = 1.0
    """Widths of the networks as a fraction of the paper's."""
    runs: Path = Path("runs/studies.mixtures")


def pacgan(fraction: float = 1.0) -> GAN:
    """The plain game on the paper's networks, with a fraction of their widths."""
    generator = MLP((round(400 * fraction),) * 4, norm=BatchNorm, kernel_init=small_normal)
    critic = nn.Sequential(tuple(Maxout(round(200 * fraction), 5, kernel_init=small_normal) for _ in range(3)))
    return GAN(generator, critic, (2,), latent_dim=2)


def study(config: Mixtures) -> str:
    """Raises:
    ValueError: unknown names in `only`, rows with other settings.
    NonFiniteLoss: a game's loss is not finite.
    """
    settings = {"steps": config.steps, "seeds": config.seeds, "share": config.share}
    compute = {f"{game}, {data}": partial(train, game, data, config) for data in DATA for game in GAMES}
    results = harness.rows(compute, config.only, config.runs, settings)
    head = ("game, data", *METRICS, "published", "seconds")
    lines = []
    for name, result in results.items():
        cells = [with_error(result[metric], digits) for metric, digits in METRICS.items()]
        paper = " ".join("–" if value is None else str(value) for value in PUBLISHED.get(name, ()))
        lines.append((name, *cells, paper, result["training_seconds"]))
    notes = f"{config.steps:,} steps of {BATCH}, {config.seeds} seeds, {config.share:g} of the paper's widths."
    records = [record(config, name, result) for name, result in results.items()]
    return harness.save(config.runs, harness.table(head, lines, notes), records)


def record(config: Mixtures, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    game, _, data = name.rpartition(", ")
    seeds = [dict(zip(METRICS, values, strict=True)) for values in zip(*(result[m] for m in METRICS), strict=True)]
    means, errors = mean_and_error(seeds) if len(seeds) > 1 else (seeds[0], {})
    paper = zip(METRICS, PUBLISHED.get(name, ()), strict=False)
    source = {"source": "Lin et al. 2018, table 1", "budget": PAPER_STEPS}
    return {
        "experiment": "studies.mixtures", "system": game, "data": data, "seeds": config.seeds, "test": means,
        "standard_errors": errors, "headline": ["modes", "high_quality"], "steps": config.steps,
        "changed": {"share": config.share}, "training_seconds": result["training_seconds"],
        "published": [{"metric": m, "value": v, **source} for m, v in paper if v is not None],
    }  # fmt: skip


def train(game: str, data: str, config: Mixtures) -> dict[str, Any]:
    """Trains the seeds of a game and plots their samples; returns lists over seeds, by metric."""
    began = time.monotonic()
    # without moving averages, as in the paper
    settings = Settings(
        steps=config.steps, batch_size=BATCH, ema=0.0, steps_per_call=PER_CALL,
        log_every=PER_CALL, eval_every=PER_CALL, checkpoint_every=PER_CALL,
    )  # fmt: skip
    changes, optimizers = GAMES[game]
    seeds = fit_seeds(
        replace(pacgan(config.share), **changes), source(data).train, settings, optimizers=optimizers,
        seeds=range(config.seeds), progress=False,
    )  # fmt: skip
    samples = np.stack([trained.sample(jax.random.key(seed), SAMPLES) for seed, trained in enumerate(seeds)])
    metrics_of_seeds = [MIXTURES[data](x, x) for x in samples]
    colour = np.repeat(np.arange(config.seeds), SAMPLES)
    figure = plotting.points(samples.reshape(-1, 2), colour, game)
    plotting.save(figure, config.runs / f"{harness.slug(f'{game}, {data}')}.png")
    result = {name: [float(metrics[name]) for metrics in metrics_of_seeds] for name in METRICS}
    return {**result, "training_seconds": round(time.monotonic() - began)}


if __name__ == "__main__":
    harness.main(Mixtures, study, __doc__, "experiments.studies.mixtures")
