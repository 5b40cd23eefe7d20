"""Style transfer by a learned linear transformation (Li, Liu, Kautz and Yang 2019).

Published: 140 pictures of 256x256 a second on a GPU; the decoder is one that inverts VGG's features, then 100,000
batches of 8 crops of 256 pixels train the transformation, MS-COCO as contents and WikiArt as styles.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import optax

from experiments.config import Experiment
from experiments.run import main
from experiments.styling import StyleConfig, decoder_widths, experiment, fixed_features
from experiments.translating import both
from jaxgen.data import Splits
from jaxgen.models.translation import LinearStyle, LinearTransformation
from jaxgen.models.translation.style_transfer import inverse_decay
from jaxgen.nets import VGGDecoder
from jaxgen.training.ranges import Count, Fraction, NonNegative


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearStyleConfig(StyleConfig):
    PRESETS: ClassVar = {
        "paper": {},
        "small": {
            "steps": 700, "batch_size": 4, "size": 64, "largest": 128, "crops": 2000, "decoder_width": 32,
            "learning_rate": 1e-3, "eval_every": 200, "checkpoint_every": 500, "feature_weight": 0.0,
            "style_weight": 0.004,
        },
    }  # fmt: skip
    steps: Count = 180_000
    """Batches of both phases."""
    decoder_share: Fraction = 4 / 9
    """Part of the steps that train the decoder: 80,000 of 180,000."""
    feature_weight: NonNegative = 1.0
    """Weight of the features in the decoder's loss."""
    matrix: Literal["gram", "covariance"] = "gram"
    """Second moments of the style loss: the authors' code's, or the paper's."""
    style_weight: NonNegative = 0.02
    matrix_size: Count = 32
    """Rows of the transformation."""


def build(config: LinearStyleConfig, data: Splits) -> Experiment:
    network, start = fixed_features(config, data)
    model = LinearStyle(
        **both(data), features=network, decoder=VGGDecoder("relu3_1", decoder_widths(config)), matrix=config.matrix,
        transformation=LinearTransformation(config.matrix_size), style_weight=config.style_weight,
        decoder_share=config.decoder_share, feature_weight=config.feature_weight,
    )  # fmt: skip
    optimizers = {
        "decoder": optax.adam(inverse_decay(config.learning_rate, 5e-5)),
        "transformation": optax.adam(inverse_decay(config.learning_rate, 1e-5)),
    }
    played = {name for phase in model.phases(config.steps) for name in phase.plays}
    return experiment(config, data, model, start, optimizers={name: optimizers[name] for name in sorted(played)})


if __name__ == "__main__":
    main(LinearStyleConfig, build)
