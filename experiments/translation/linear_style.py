"""Style transfer by a learned linear transformation (Li, Liu, Kautz and Yang 2019).

The paper trains 100,000 batches of 8 crops of 256 pixels, MS-COCO as contents and WikiArt as styles, with a decoder
that inverts ImageNet's VGG, and reports 140 pictures of 256x256 a second on a GPU. **The trunk measured here is HED's
VGG-16, fine-tuned for edges, not ImageNet's VGG**: its figures compare with each other only.

Held-out styles x contents at 128 pixels, `content` / `style` distance (`experiments.styling.StyleDistance`), seed 0;
controls and files as in `experiments.translation.adain`:

    --preset small --decoder-share 0 --decoder runs/adain --learning-rate 3e-4
                                                     alpha 1: .707 / 1.441   alpha .5: .486 / 1.669   6 minutes
    --preset small --decoder-share 0, on a decoder of 300 steps of reconstruction    1.065 / 3.529    5 minutes

A fixed decoder bounds the result: the latter's reconstructions of the contents themselves are at .729 / 4.232, blurred.
With colours, 1,000 steps and AdaIN's decoder of as many (`experiments.studies.style_transfer`), alpha 1: .649 / 1.299.
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
from jaxgen.training.ranges import Count, NonNegative, Probability


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
    decoder_share: Probability = 4 / 9
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
