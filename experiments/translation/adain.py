"""AdaIN: style transfer by adaptive instance normalisation (Huang and Belongie 2017).

The paper trains 160,000 batches of 8 crops of 256 pixels, MS-COCO as contents and WikiArt as styles, on ImageNet's
VGG-19, and reports a user study and losses of that network. **The trunk measured here is HED's VGG-16, fine-tuned for
edges, not ImageNet's VGG**: its figures compare with each other only.

Its features are almost always zero in some channels, so layers are normalised as wholes (`normalize_activations`); with
the authors' sum over channels (`--variant torch`) relu1_1 and with it colours hardly count, and `small` takes means.
Held-out styles x contents at 128 pixels, `content` / `style` distance (`experiments.styling.StyleDistance`), seed 0:

    unchanged content 0 / 2.752, colours moved .315 / 1.719, half of each .715 / 1.623, style itself 1.636 / 0
    --preset small, from a decoder of 300 steps      alpha 1: .567 / 1.195   alpha .5: .413 / 1.608   6 minutes
    --preset small --variant torch --style-weight .002 --steps 600, no decoder       .511 / 1.941    11 minutes

    python -m experiments.translation.linear_style --preset small --decoder-share 1 --steps 300 --out runs/linear ...
    python -m experiments.translation.adain --preset small --decoder runs/linear
        --data style_content.npz --contents bsds500_edges2photo64.npz --trunk hed_vgg16_to_relu4_1.npz

Minutes are of one shared core, 2,800 crops of 64 pixels: strokes and lines of a style are transferred, its colours only
in part, and reconstructions are brown. The trunk is the cause: a linear map from relu1_1, relu2_1, relu3_1 and relu4_1
explains 0.99, 0.50, 0.26 and less than nothing of the variance of other photographs' colours, so that no decoder of
relu3_1 can know them. The loss asks little for them: four test pairs at 64 pixels, whose pixels are optimised under it
for 40 steps from the contents, are at a `colour` distance of 0.163 from the styles (contents 0.209); with
`--colours 20`, which puts colours after the features of each layer (`jaxgen.nets.WithColours`), at 0.059.
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
from jaxgen.models.translation import AdaIN
from jaxgen.models.translation.style_transfer import inverse_decay
from jaxgen.nets import VGGDecoder
from jaxgen.training.ranges import NonNegative

VARIANTS = {"torch": ("sum", 0.01), "naoto": ("mean", 10.0)}
"""How the style loss reduces channels, and its weight, in the authors' code and in a widely used other one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaINConfig(StyleConfig):
    PRESETS: ClassVar = {
        "paper": {},
        "small": {
            "steps": 700, "batch_size": 4, "size": 64, "largest": 128, "crops": 2000, "decoder_width": 32,
            "learning_rate": 1e-3, "eval_every": 200, "checkpoint_every": 500, "layer": "relu3_1", "variant": "naoto",
            "style_weight": 1.0,
        },
    }  # fmt: skip
    layer: Literal["relu2_1", "relu3_1", "relu4_1"] = "relu4_1"
    """Whose features are transformed; a lower layer is easier to decode."""
    variant: Literal["torch", "naoto"] = "torch"
    """Reduction and weight of the style loss: the authors' or naoto0804's."""
    style_weight: NonNegative | None = None
    """Replaces the variant's."""


def build(config: AdaINConfig, data: Splits) -> Experiment:
    network, start = fixed_features(config, data)
    channels, weight = VARIANTS[config.variant]
    model = AdaIN(
        **both(data), features=network, decoder=VGGDecoder(config.layer, decoder_widths(config)), layer=config.layer,
        content_layer=config.layer, stride=2 ** (int(config.layer[4]) - 1), style_channels=channels,
        style_weight=weight if config.style_weight is None else config.style_weight,
    )  # fmt: skip
    optimizer = optax.adam(inverse_decay(config.learning_rate, 5e-5))
    return experiment(config, data, model, start, optimizers={"decoder": optimizer})


if __name__ == "__main__":
    main(AdaINConfig, build)
