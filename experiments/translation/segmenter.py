"""A segmenter of pictures, trained on pairs of label maps (a) and pictures (b).

Result on the 50 test photographs of facades64.npz: 0.584 of the pixels, 0.312 of the classes, IoU 0.224 (the most
frequent class: 0.332 of the pixels), in 2.5 minutes on a shared core, by `--data facades64.npz --domains label photo
--width 16`. Its predecessor with instance normalisation had 0.564, and found washed-out translations as good as
photographs (0.564 too): it does not see their lack of contrast.

It is the opposite direction of pix2pix, with cross-entropy, and the judge of translations from label maps: its folder
is the argument `--segmenter` of `experiments.translation.pix2pix`. The classes are the colours of the label maps.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import optax

from experiments.config import Experiment
from experiments.run import main
from experiments.translating import TranslationConfig, both, plot_translations
from experiments.translation.scores import label_scores, pairs
from jaxgen.data import Splits
from jaxgen.models.translation import Segmenter
from jaxgen.nets import BatchNorm, Jitter, UNet
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, Fraction, NonNegative

MAX_CLASSES = 256


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig(TranslationConfig):
    paired: ClassVar[bool] = True
    steps: Count = 1_500
    batch_size: Count = 8
    ema: Fraction = 0.99
    eval_every: Count = 250
    width: Count = 32
    """Channels of the U-Net's first level."""
    dropout: Fraction = 0.5
    """Rate in the first three layers of its decoder."""
    learning_rate: NonNegative = 1e-3
    """Adam's initial learning rate; cosine decay."""
    mirror: bool = True
    """Mirror half of the pairs."""


def palette(data: Splits) -> tuple[tuple[int, ...], ...]:
    """The colours of the label maps in the training split, in ascending order.

    Raises:
        ValueError: more than `MAX_CLASSES`.
    """
    maps, _ = pairs(data.train)
    colours = np.unique(maps.reshape(-1, maps.shape[-1]), axis=0)
    if len(colours) > MAX_CLASSES:
        raise ValueError(f"`data` must have label maps with at most {MAX_CLASSES} colours as a, got {len(colours)}")
    return tuple(map(tuple, colours.tolist()))


def build(config: SegmenterConfig, data: Splits) -> Experiment:
    # averages of training, not a picture's own statistics, which would hide a lack of contrast
    network = UNet(config.width, norm=BatchNorm, dropout=config.dropout)
    jitter = Jitter(scale=1.0, mirror=config.mirror)
    model = Segmenter(**both(data), palette=palette(data), network=network, jitter=jitter)
    adam = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps))

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        return label_scores(trained, *pairs(data.test))

    return Experiment(
        model, optimizers=dict.fromkeys(model.plays(), adam), final_metrics=final_metrics, draws=1,
        plots={"label_maps": partial(plot_translations, data, to="a", paired=True)},
        baselines={"most frequent class, pixel_accuracy": majority(model, data)}, headline=("pixel_accuracy",),
    )  # fmt: skip


def majority(model: Segmenter, data: Splits) -> float:
    train, test = (np.asarray(model.labels(pairs(split)[0])) for split in (data.train, data.test))
    return float((test == np.bincount(train.ravel()).argmax()).mean())


if __name__ == "__main__":
    main(SegmenterConfig, build)
