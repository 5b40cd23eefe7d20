"""How many of 1,000 modes a GAN covers: three random digits, one in each colour (Metz et al. 2017; VEEGAN; PacGAN).

Result: 903 modes, reverse KL 0.90, after 1,000 steps, two minutes on two cores: `--data mnist.npz --extractor FOLDER
--width 32 --steps 1000 --rows 30000`; the paper's DCGAN has 78.9 modes after 100,000.

On 128,000 stacks of MNIST digits, PacGAN's table 2 (Lin et al. 2018, arXiv:1712.04086) has 78.9 modes and a reverse KL
of 4.50 for its DCGAN, all 1,000 and 0.06 packed by two, after 50 epochs of batches of 64, Adam at 2e-4 (0.5), noise of
100 dimensions, on 26,000 samples: `--data mnist.npz --extractor FOLDER --steps 100000 --packing 2`. The mode of a
sample is the extractor's class of each of its three colours. `--game wgan_gp` is WGAN-GP with the same networks, the
critic without normalisation.
"""

from dataclasses import dataclass, replace
from typing import Literal

import jax
import numpy as np

from experiments.adversarial import AdversarialConfig, adam_optimizers, experiment, fields, networks
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.data.images import stacked
from jaxgen.metrics import stacked_modes
from jaxgen.models.gans import GAN, WGANGP
from jaxgen.nets.normalization import BatchNorm
from jaxgen.training import TrainedModel
from jaxgen.training.extractor import Extractor, load_extractor
from jaxgen.training.ranges import Count

PUBLISHED = {
    data: Published("modes", 78.9, "Lin et al. 2018, table 2, DCGAN; 1,000 packed by two", 100_000)
    for data in ("tfds:mnist", "mnist.npz")
}
CALL = 500
"""Samples per call."""


@dataclass(frozen=True, kw_only=True)
class StackedDigitsConfig(AdversarialConfig):
    game: Literal["dcgan", "wgan_gp"] = "dcgan"
    """The game."""
    rows: Count = 128_000
    """Stacked images in the training split; the other splits have a tenth."""
    counted: Count = 26_000
    """Samples for counting modes."""


def build(config: StackedDigitsConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: `extractor` is None; data other than labelled grey images.
    """
    if config.extractor is None:
        raise ValueError("`extractor` must be a run of experiments.gans.feature_extractor on single digits, got None")
    if data.train.num_classes is None or data.train.event_shape[-1:] != (1,):
        raise ValueError(f"`data` must hold labelled images [H, W, 1] to stack, got {config.data!r}")
    extractor = load_extractor(config.extractor)
    counts = (config.rows, config.rows // 10, config.rows // 10)
    stacks = Splits(*(stacked(split, n, seed) for seed, (split, n) in enumerate(zip(data, counts, strict=True))))
    # the extractor classifies single digits, not stacks; `final_metrics` uses it
    config = replace(config, extractor=None, conditional=False)
    penalised = config.game == "wgan_gp"
    kind = WGANGP if penalised else GAN
    model = kind(*networks(config, stacks, None if penalised else BatchNorm), **fields(config, stacks))

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        keys = jax.random.split(jax.random.key(config.seed), -(-config.counted // CALL))
        seen = np.concatenate([digits(extractor, np.asarray(trained.sample(key, CALL))) for key in keys])
        metrics = stacked_modes(seen[: config.counted], num_classes=data.train.num_classes)
        return {name: float(value) for name, value in metrics.items()}

    optimizers = adam_optimizers(replace(config, b1=0.0), b2=0.9) if penalised else None
    return experiment(
        config, stacks, model, optimizers, data=stacks, final_metrics=final_metrics, headline=("modes", "reverse_kl")
    )


def digits(extractor: Extractor, x: np.ndarray) -> np.ndarray:
    """The extractor's class of each colour channel, [B, 3]."""
    return np.stack([extractor.logits(x[..., i : i + 1]).argmax(-1) for i in range(3)], -1)


if __name__ == "__main__":
    main(StackedDigitsConfig, build, PUBLISHED)
