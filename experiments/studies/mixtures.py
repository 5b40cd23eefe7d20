"""Which games find all modes: `python -m experiments.gans.mixtures`, the set-up of PacGAN's table 1 (Lin et al. 2018).

Eight Gaussians on the unit circle (standard deviation 0.01) and 25 on a grid (0.05), 100,000 rows of each. The paper's
generator has four layers of 400 units with batch normalisation, its critic three of 200 maxout units of five pieces, the
noise two dimensions; weights start from N(0, 0.02^2), Adam is 1e-4 (0.8), batches are of 100, and 400 epochs are 400,000
steps. `--share 0.5` halves all widths. Every game has the same networks, steps and batches; where the critic moves five
times for one of the generator the latter has moved a fifth as often.

The seeds of a game are trained side by side in one compiled program. Of 2,500 samples of the last variables: modes with
at least one sample within three standard deviations (the paper's count), modes with a quarter of their fair share of
these, the share of samples that are within, and the reverse KL of all samples' modes; means over seeds with standard
errors. A game that is finished is kept as a JSON file under `--runs`, read by the next call.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from experiments.adversarial import MIXTURES
from experiments.spread import spread
from jaxgen import plotting
from jaxgen.data import source
from jaxgen.models.gans import (
    GAN,
    Adam,
    ClippedRMSProp,
    GradientPenalty,
    Hinge,
    LeastSquares,
    Minimax,
    Proximal,
    Wasserstein,
)
from jaxgen.nets import MLP, Maxout
from jaxgen.nets.initializers import small_normal
from jaxgen.nets.normalization import BatchNorm
from jaxgen.training import Settings, fit_seeds

DATA = ("gaussian_ring", "gaussian_grid")
BATCH = 100
SAMPLES = 2_500
PER_CALL = 1_000
FIGURES = ("modes", "fair_modes", "high_quality", "reverse_kl")
PUBLISHED = {
    ("GAN", "gaussian_ring"): (6.3, None, 0.982, 0.45),
    ("GAN", "gaussian_grid"): (17.3, None, 0.948, 0.70),
    ("PacGAN2", "gaussian_ring"): (7.9, None, 0.956, 0.07),
    ("PacGAN2", "gaussian_grid"): (23.8, None, 0.913, 0.13),
}
"""Lin et al. 2018, table 1, after 400,000 steps, in the order of `FIGURES`."""


def _penalised(gan: GAN) -> GAN:
    adam = Adam(1e-4, 0.5, 0.9)
    return replace(
        gan, criterion=Wasserstein(), penalties=(GradientPenalty(0.1),), critic_steps=5,
        critic_optimizer=adam, generator_optimizer=adam,
    )  # fmt: skip


def _clipped(gan: GAN) -> GAN:
    # clipping holds all weights near zero: a start from N(0, 0.02^2) is within the bound already
    return replace(
        gan, criterion=Wasserstein(), critic_steps=5,
        critic_optimizer=ClippedRMSProp(5e-5, 0.01), generator_optimizer=ClippedRMSProp(5e-5, None),
    )  # fmt: skip


GAMES: Mapping[str, Callable[[GAN], GAN]] = {
    "GAN": lambda gan: gan,
    "PacGAN2": lambda gan: replace(gan, packing=2),
    "GAN, minimax": lambda gan: replace(gan, criterion=Minimax()),
    "GAN, proximal": lambda gan: replace(gan, proximal=Proximal(1.0, 10)),
    "LSGAN": lambda gan: replace(gan, criterion=LeastSquares()),
    "hinge": lambda gan: replace(gan, criterion=Hinge()),
    "WGAN": _clipped,
    "WGAN-GP": _penalised,
}
"""What each game changes in the first."""


@dataclass(frozen=True, kw_only=True)
class Mixtures:
    steps: int = 20_000
    """Batches of 100; the paper's are 400,000."""
    seeds: int = 3
    """Runs of each game; the paper's are 10."""
    share: float = 1.0
    """Of the paper's widths."""
    only: tuple[str, ...] = ()
    """Names of games; all by default."""
    data: tuple[str, ...] = DATA
    """Mixtures."""
    runs: Path = Path("runs/gans.mixtures")
    """Where finished games, the table and pictures of the samples are."""


def pacgan(share: float = 1.0) -> GAN:
    """The paper's networks, up to a share of their widths, in its plain game."""
    generator = MLP((round(400 * share),) * 4, norm=BatchNorm, kernel_init=small_normal)
    critic = nn.Sequential(tuple(Maxout(round(200 * share), 5, kernel_init=small_normal) for _ in range(3)))
    adam = Adam(1e-4, 0.8)
    return GAN(generator, critic, (2,), 2, critic_optimizer=adam, generator_optimizer=adam)


def main(config: Mixtures) -> str:
    """Trains what is missing; returns the table as Markdown.

    Raises:
        ValueError: a game or a mixture of another name; games of other settings under `runs`.
        NonFiniteLoss: with the game.
    """
    if unknown := set(config.only) - set(GAMES):
        raise ValueError(f"only={sorted(unknown)} was given; the games are {list(GAMES)}")
    if unknown := set(config.data) - set(MIXTURES):
        raise ValueError(f"data={sorted(unknown)} was given; the mixtures are {list(MIXTURES)}")
    settings = {name: value for name, value in asdict(config).items() if name not in ("only", "data", "runs")}
    config.runs.mkdir(parents=True, exist_ok=True)
    results = {}
    for data in config.data:
        for name in GAMES:
            stem = f"{data}-{name.replace(' ', '').replace(',', '-')}"
            file = config.runs / f"{stem}.json"
            if file.exists():
                results[name, data] = json.loads(file.read_text())
                if (there := results[name, data]["settings"]) != settings:
                    raise ValueError(f"{file} is of {there}, not of {settings}: give other --runs, or remove it")
            elif not config.only or name in config.only:
                samples, result = train(GAMES[name](pacgan(config.share)), data, config)
                results[name, data] = {"settings": settings, **result}
                print(f"{name} on {data}: {result}", flush=True)
                seed = np.repeat(np.arange(config.seeds), SAMPLES)
                plotting.save(plotting.points(samples.reshape(-1, 2), seed, name), config.runs / f"{stem}.png")
                file.write_text(json.dumps(results[name, data], indent=1) + "\n")
    table = "\n".join(lines(results, config))
    (config.runs / "table.md").write_text(table + "\n")
    return table


def train(model: GAN, data: str, config: Mixtures) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples [seeds, SAMPLES, 2] of the trained games, and their figures by name, a list over seeds each."""
    began = time.monotonic()
    # no averages: the paper's figures are of the variables themselves
    settings = Settings(
        steps=config.steps, batch_size=BATCH, ema=0.0, steps_per_call=PER_CALL,
        log_every=PER_CALL, eval_every=PER_CALL, checkpoint_every=PER_CALL,
    )  # fmt: skip
    bounds = fit_seeds(model, source(data).train, settings, seeds=range(config.seeds), progress=False)
    samples = [bound.sample(jax.random.key(seed), SAMPLES) for seed, bound in enumerate(bounds)]
    found = [MIXTURES[data](mine, mine) for mine in samples]
    result = {name: [float(figures[name]) for figures in found] for name in FIGURES}
    return np.stack(samples), {**result, "training_seconds": round(time.monotonic() - began)}


def lines(results: Mapping[tuple[str, str], Mapping[str, Any]], config: Mixtures) -> Iterator[str]:
    yield "| game | data | modes | modes with a fair share | high quality | reverse KL | published | seconds |"
    yield "|---|---|---|---|---|---|---|---|"
    for (name, data), result in results.items():
        cells = " | ".join(spread(result[figure], 3 if figure in ("high_quality", "reverse_kl") else 1) for figure in FIGURES)
        paper = PUBLISHED.get((name, data))
        known = " ".join("–" if value is None else str(value) for value in paper) if paper else ""
        yield f"| {name} | {data} | {cells} | {known} | {result['training_seconds']} |"
    yield ""
    yield f"{config.steps:,} steps of {BATCH}, {config.seeds} seeds, {config.share:g} of the paper's widths."


if __name__ == "__main__":
    import tyro

    print(main(tyro.cli(Mixtures, description=__doc__, prog="python -m experiments.gans.mixtures")))
