"""How many of 1,000 modes a game finds: three digits at random, one to each colour (Metz et al. 2017; VEEGAN; PacGAN).

On MNIST stacked 128,000 times, PacGAN's table 2 (Lin et al. 2018, arXiv:1712.04086) has 78.9
modes and a reverse KL of 4.50 for its DCGAN, all 1,000 and 0.06 packed by two, after 50 epochs of batches of 64, Adam
2e-4 (0.5), noise of 100, on 26,000 samples: `--data mnist.npz --extractor FOLDER --steps 100000 --packing 2`. A mode is
what the extractor, a classifier of single digits, sees in the three colours. `--game wgan_gp` is the penalised
Wasserstein game on the same networks, its critic without normalisation.
"""

from dataclasses import dataclass, replace
from typing import Literal

import jax
import numpy as np

from experiments.adversarial import AdversarialConfig, adam, experiment, fields, networks
from experiments.gans.extractor import Extractor, load_extractor
from experiments.shell import Experiment, Published, main
from jaxgen.data import ArraySource, Source, Splits
from jaxgen.metrics import stacked_modes
from jaxgen.models.gans import GAN, WGANGP
from jaxgen.nets.normalization import BatchNorm
from jaxgen.training import TrainedModel

PUBLISHED = {
    data: Published("modes", 78.9, "Lin et al. 2018, table 2, DCGAN; 1,000 packed by two")
    for data in ("tfds:mnist", "mnist.npz")
}
CALL = 500
"""Samples drawn at a time."""


@dataclass(frozen=True, kw_only=True)
class StackedDigitsConfig(AdversarialConfig):
    game: Literal["dcgan", "wgan_gp"] = "dcgan"
    """Which game is played."""
    rows: int = 128_000
    """Of the training split; the others have a tenth."""
    counted: int = 26_000
    """Samples whose modes are counted."""


def build(config: StackedDigitsConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: no extractor; data that are not labelled grey images.
    """
    if config.extractor is None:
        raise ValueError("extractor=None: a run of experiments.gans.feature_extractor on single digits has to say modes")
    if data.train.classes is None or data.train.event_shape[-1:] != (1,):
        raise ValueError(f"data={config.data!r} cannot be stacked: labelled images [H, W, 1] are needed")
    extractor = load_extractor(config.extractor)
    counts = (config.rows, config.rows // 10, config.rows // 10)
    stacks = Splits(*(stacked(split, n, seed) for seed, (split, n) in enumerate(zip(data, counts, strict=True))))
    penalised = config.game == "wgan_gp"
    # the extractor is of single digits: what it says of three is asked below
    shared = fields(replace(config, extractor=None), stacks)
    if penalised:
        model, optimizers = WGANGP(*networks(config, stacks, None), **shared), adam(config, 0.0, 0.9)
    else:
        model, optimizers = GAN(*networks(config, stacks, BatchNorm), **shared), adam(config)
    made = experiment(
        replace(config, extractor=None, conditional=False), stacks, model, data=stacks, optimizers=optimizers
    )  # fmt: skip

    def report(bound: TrainedModel) -> dict[str, float]:
        keys = jax.random.split(jax.random.key(config.seed), -(-config.counted // CALL))
        seen = np.concatenate([digits(extractor, np.asarray(bound.sample(key, CALL))) for key in keys])
        return {name: float(v) for name, v in stacked_modes(seen[: config.counted], classes=data.train.classes).items()}

    return made._replace(report=report)


def stacked(split: Source, n: int, seed: int) -> ArraySource:
    """n rows of three images of a split, drawn with replacement, one to each colour, without labels."""
    x = split.head(len(split))["x"]
    drawn = np.random.default_rng(seed).integers(len(x), size=(n, 3))
    rows = np.concatenate([x[drawn[:, i]] for i in range(3)], -1)
    return ArraySource({"x": rows}, levels=split.levels, name=f"stacked {split.name}")


def digits(extractor: Extractor, x: np.ndarray) -> np.ndarray:
    """What class the extractor sees in each colour: [B, 3]."""
    return np.stack([extractor.logits(x[..., i : i + 1]).argmax(-1) for i in range(3)], -1)


if __name__ == "__main__":
    main(StackedDigitsConfig, build, PUBLISHED)
