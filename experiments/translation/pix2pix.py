"""Pix2Pix (Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks").

Result on facades64.npz, labels to photographs, three seeds of width 16: label-back pixel accuracy 0.557 ± 0.003 (L1
alone 0.487 ± 0.005, photographs 0.584) and L1 0.164 ± 0.001 (L1 alone 0.152, the mean colours of the classes 0.167),
4 minutes a seed on a shared core, by `python -m experiments.studies.translation`. The paper's FCN scores on Cityscapes
(table 1) have the same order: 0.66, L1 alone 0.42, photographs 0.80.

Result on emoji32_pairs.npz, from one vendor's to another's, 1,506 training pairs and 200 test pairs, seed 0: `--preset
small --domains twitter google --levels 3 --dropout 0 --jitter 1 --batch-size 8 --adversarial-weight 0 --learning-rate
1e-3`, 31 seconds of a core, or with the adversary two and a half minutes. L1 and retrieval, the fraction of
translations nearest to their own partner:

    untranslated 0.169 / 0.535      kernel ridge      0.121 / 0.485      nearest change 0.142 / 0.620
    L1 alone     0.115 / 0.485      L1 and adversary  0.123 / 0.455      mean picture   0.216 / 0.005

What can be learnt is in near copies: of the 100 test pictures with the nearest training pictures the untranslated
retrieve 0.40, ridge 0.53 and the adversary 0.47, of the other 100 they retrieve 0.67, 0.44 and 0.44. There a model
draws anew what the input has already. "Nearest change", the input with half of the change that its nearest training
picture has in its pair (`experiments.studies.translation`), keeps both: 0.56 and 0.68. With decaying rates, retrieval
on validation pairs is 0.47 after 1,500 steps and 0.45 after 4,000, on training pairs 0.50 and 0.78. A U-Net whose
output is added to the input does no better: 0.415 after 1,500 steps with L1 alone, 0.475 after 4,000.

The defaults are the paper's for facades at 256x256, 200 epochs of 400 pairs; `--preset small` is for 32 to 64 pixels.
`--adversarial-weight 0` and `--l1-weight 0` are the paper's rows L1 and cGAN. With a folder of
`experiments.translation.segmenter`, translations from label maps get the label-back scores (the paper's FCN scores,
by this segmenter in place of FCN-8s).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import numpy as np
import optax

from experiments.config import Experiment
from experiments.run import main
from experiments.translating import COLUMNS, PairsConfig, both, side_by_side
from experiments.translation.scores import Judges, baselines_l1, paired_scores, pairs
from jaxgen.data import Splits
from jaxgen.models.translation import Pix2Pix
from jaxgen.nets import BatchNorm, Concatenate, InstanceNorm, Jitter, PatchCritic, Unconditional, UNet
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, Fraction


@dataclass(frozen=True, kw_only=True)
class Pix2PixConfig(PairsConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {
            "steps": 4_000, "batch_size": 4, "ema": 0.99, "eval_every": 4_000, "width": 32, "critic_width": 32,
            "receptive_field": 34, "norm": "instance", "learning_rate": 8e-4,
        },
    }  # fmt: skip

    width: Count = 64
    """Channels of the U-Net's first level."""
    levels: Count | None = None
    """Halvings of the resolution in the U-Net; by default down to one pixel."""
    dropout: Fraction = 0.5
    """Rate in the first three layers of the decoder, the noise of the generator."""
    critic_width: Count = 64
    """Channels of the critic's first layer."""
    norm: Literal["batch", "instance"] = "batch"
    """Normalisation in both networks; the same for batches of one pair."""
    statistics: Literal["picture", "batch", "running"] = "picture"
    """Statistics of batch normalisation at test time: of each picture, of the batch, or the averages of training."""
    conditional_critic: bool = True
    """The critic sees the input too; False in the paper's rows GAN and L1+GAN."""


def build(config: Pix2PixConfig, data: Splits) -> Experiment:
    norm = {"batch": BatchNorm, "instance": InstanceNorm}[config.norm]
    model = Pix2Pix(
        **both(data), generator=UNet(config.width, config.levels, norm, dropout=config.dropout),
        critic=PatchCritic.with_receptive_field(config.receptive_field, config.critic_width, norm=norm),
        critic_condition=Concatenate() if config.conditional_critic else Unconditional(),
        adversarial_weight=config.adversarial_weight, l1_weight=config.l1_weight,
        jitter=Jitter(config.jitter, config.mirror), statistics=config.statistics,
    )  # fmt: skip
    adam = optax.adam(config.learning_rate, b1=0.5)
    judges, (x, y) = Judges.load(config.segmenter, config.trunk), pairs(data.test)

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        return paired_scores(x, translations(trained, x, config), y, judges)

    return Experiment(
        model, optimizers=dict.fromkeys(model.plays(), adam), final_metrics=final_metrics, draws=1,
        plots={"translations": partial(plot, data, config)},
        baselines=baselines_l1(data),
    )  # fmt: skip


def translations(trained: TrainedModel, x: np.ndarray, config: Pix2PixConfig) -> np.ndarray:
    """Translations of any number of examples, each with a sample of the noise."""
    keys = jax.random.split(jax.random.key(config.seed), -(-len(x) // config.eval_batch))
    parts = (x[i * config.eval_batch : (i + 1) * config.eval_batch] for i in range(len(keys)))
    return np.concatenate([np.asarray(trained.translate(part, key=key)) for part, key in zip(parts, keys, strict=True)])


def plot(data: Splits, config: Pix2PixConfig, trained: TrainedModel) -> Any:
    """Test examples, translations with two samples of the noise, the truth."""
    head = data.test.head(COLUMNS)
    x, keys = head["a"]["x"], jax.random.split(jax.random.key(config.seed))
    fakes = {f"translation {i + 1}": (trained.translate(x, key=key), "b") for i, key in enumerate(keys)}
    return side_by_side({"input": (x, "a"), **fakes, "truth": (head["b"]["x"], "b")}, trained.model)


if __name__ == "__main__":
    main(Pix2PixConfig, build)
