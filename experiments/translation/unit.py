"""UNIT: two VAEs with a shared latent space (Liu et al. 2017, arXiv:1703.00848).

Result on digits, `--preset digits --data mnist.npz,usps.npz --size 16 --adaptation`: a classifier trained on translated
labelled digits and tested in the other domain, mean and standard error of three seeds, six to ten minutes each on a
shared core:

                                   MNIST to USPS     USPS to MNIST
    shared latent networks         0.811 +- 0.026    0.647 +- 0.025
    `--no-shared`                  0.220 +- 0.114    0.117 +- 0.033
    without translation            0.674             0.438
    paper                          0.9597            0.9358

Sharing keeps the class: without it, translations are digits of another class. So they are if only one residual block is
shared, with the cycle terms (0.407 and 0.351 in one run of 1,600 batches of 32, with a smaller critic). The paper's
accuracy is that of a classifier on its critics' features; `--classifier` trains one on labels of MNIST alone.
Accuracies on the two test sets, and as above with `--adaptation`:

                                          MNIST    USPS            MNIST to USPS    USPS to MNIST
    --classifier, 1,500 steps, seed 0     0.890    0.698           0.821            0.732            six minutes
    seed 1                                0.873    0.722                                             two minutes
    seed 0, --steps 4000                  0.954    0.819           0.851            0.808            four minutes
    seed 0, --steps 8000                  0.951    0.868                                             two minutes
    --steps 18000, three seeds            0.970    0.893                                             ten minutes
    standard errors                       0.003    0.014

The paper has 0.9053 on USPS, the seeds have 0.914, 0.898 and 0.866. The terms must be small beside the adversary: class
and feature weights of 10 and 30 leave critics that hardly tell translations from data (mean scores 0.01 and -0.02) and
decoders that nothing keeps together, and USPS at 0.126, chance, after 1,200 steps. One change after another, 300 steps,
one seed: the fraction of translations in which a classifier of the other domain finds the class of the original, and
the critics' loss, 2.77 for critics that see nothing:

                                                 MNIST to USPS    USPS to MNIST    critics' loss
    UNIT                                         0.13             0.23             2.47
    critics with shared layers, no further term  0.27             0.36             2.49
        dropout of 0.5                           0.18             0.19             2.49
        class weight 10                          0.11             0.23             2.70
        class weight 1                           0.13             0.34             2.54
        class weight 1, feature weight 3         0.33             0.51             2.50
        class weight 1, feature weight 10        0.19             0.16             2.23
        class weight 0.3, feature weight 3       0.40             0.60             2.42

Reconstructions that critics reject too, as in the authors' program of digits, do not help beside these weights (10 and
30: 0.12 and 0.14; 1 and 3: 0.34 and 0.25).

`--preset released` has the losses, weights and optimizer of the authors' later program, in which nothing is shared, on
networks of the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import optax
from flax import linen as nn

from experiments.config import Experiment
from experiments.run import main
from experiments.translating import COLUMNS, TranslationConfig, both, side_by_side
from experiments.translation.adaptation import adaptation_metrics, check_adaptation, resized
from jaxgen.data import Splits
from jaxgen.models.gans import LeastSquares, NonSaturating
from jaxgen.models.translation import UNIT, ClassifyingUNIT, UNITWeights
from jaxgen.models.translation.domain import other
from jaxgen.nets.image_coders import ImageEncoder, ResidualCoder
from jaxgen.nets.multi_scale import MultiScale, StridedCritic, StridedLayers
from jaxgen.nets.normalization import ExampleNorm, InstanceNorm
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative


_SMALL: dict[str, Any] = {
    "steps": 3_000, "batch_size": 32, "width": 16, "blocks": 1, "kernel_size": 5, "critic_widths": (32, 64, 128),
    "learning_rate": 5e-4, "eval_every": 500, "checkpoint_every": 500,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class UNITConfig(TranslationConfig):
    PRESETS: ClassVar = {
        "paper": {},
        "released": {
            "adversarial_loss": "least_squares", "scales": 3, "shared": False, "blocks": 4, "shared_blocks": 0,
            "strided_norm": True, "weight_decay": 1e-4, "halve_every": 100_000, "adversarial": 2.0, "kl": 0.02,
            "reconstruction": 10.0, "cycle_kl": 0.02, "cycle": 10.0,
        },
        "small": _SMALL,
        "digits": {
            **_SMALL, "steps": 1_500, "batch_size": 16, "blocks": 0, "shared_blocks": 2, "shared_halvings": 1,
            "cycle_kl": 0.0, "cycle": 0.0, "eval_every": 1_000_000, "checkpoint_every": 1_500,
        },
    }  # fmt: skip

    preset: Literal["paper", "released", "small", "digits"] = "paper"
    """Defaults: the paper's, those of the authors' later program, those for images of 16 to 64 pixels, or for digits,
    of which the networks share more, without cycle terms, and the last variables are kept."""
    steps: Count = 500_000
    batch_size: Count = 1
    ema: Fraction = 0.0
    eval_every: Count = 5_000
    checkpoint_every: Count = 5_000
    size: Count | None = None
    """Resize the images of both domains to this many pixels a side."""
    shared: bool = True
    """Share the last layers of the encoders and the first layers of the decoders."""
    width: Count = 64
    """Channels at the highest resolution."""
    halvings: Natural = 2
    """Halvings of the resolution between an image and its code."""
    shared_halvings: Natural = 0
    """Those of them that may be shared."""
    blocks: Natural = 3
    """Residual blocks of each encoder and decoder that are never shared."""
    shared_blocks: Natural = 1
    """Residual blocks of each encoder and decoder that may be shared."""
    kernel_size: Count = 7
    """Side of the first convolution's kernel."""
    strided_norm: bool = False
    """Normalise the convolutions outside of residual blocks too."""
    critic_widths: tuple[Count, ...] = (64, 128, 256, 512)
    """Channels of a critic's convolutions, each with stride 2."""
    scales: Count = 1
    """Resolutions at which critics see an image."""
    adversarial_loss: Literal["non_saturating", "least_squares"] = "non_saturating"
    adversarial: NonNegative = 10.0
    """Weight of the adversarial loss."""
    kl: NonNegative = 0.2
    """Weight of the divergence of an example's code, in nats per coordinate."""
    reconstruction: NonNegative = 100.0
    """Weight of the L1 distance of the reconstruction."""
    cycle_kl: NonNegative = 0.1
    """Weight of the divergence of a translation's code."""
    cycle: NonNegative = 100.0
    """Weight of the L1 distance of the translation of a translation."""
    learning_rate: NonNegative = 1e-4
    """Adam's initial learning rate."""
    weight_decay: NonNegative = 0.0
    """Coefficient of the parameters that is added to their gradients before Adam."""
    halve_every: Count | None = None
    """Steps after which the learning rate is halved, again and again."""
    classifier: bool = False
    """Train a classifier of a's labels on the critics' features, which are then shared but for the first layers."""
    class_weight: NonNegative = 0.3
    """Weight of the classifier's loss, relative to the adversarial loss."""
    feature_weight: NonNegative = 3.0
    """Weight of the distance of the critics' features of the two images of one code, relative to the same."""
    dropout: Fraction = 0.0
    """Rate of the features before the classifier and the scores."""
    adaptation: bool = False
    """Test classifiers trained on translated labelled examples in the other domain."""

    def open(self) -> Splits:
        data = super().open()
        return data if self.size is None else resized(data, self.size)


def networks(config: UNITConfig) -> dict[str, nn.Module]:
    """The networks of a `UNIT` by field.

    Raises:
        ValueError: more shared halvings than halvings; a classifier with several scales.
    """
    if config.shared_halvings > config.halvings:
        raise ValueError(f"`shared_halvings` must be at most halvings={config.halvings}, got {config.shared_halvings}")
    norms = (InstanceNorm, ExampleNorm) if config.strided_norm else (None, None)
    if config.classifier:
        if config.scales > 1:
            raise ValueError(f"`classifier` requires a critic of one scale, got scales={config.scales}")
        own, *common = config.critic_widths
        critics = {"critic": StridedLayers((own,)), "latent_critic": StridedLayers(tuple(common))}
    else:
        critic = StridedCritic(config.critic_widths)
        critics = {"critic": critic if config.scales == 1 else MultiScale(critic, config.scales)}
    shared, own = config.shared_halvings, config.halvings - config.shared_halvings
    return {
        "encoder": ImageEncoder(config.width, config.kernel_size, own, config.blocks, strided_norm=norms[0]),
        "latent_encoder": ResidualCoder(shared, config.shared_blocks, strided_norm=norms[0]),
        "latent_decoder": ResidualCoder(0, config.shared_blocks, shared, strided_norm=norms[1]),
        "decoder": ResidualCoder(0, config.blocks, own, strided_norm=norms[1]),
        **critics,
    }


def optimizer(config: UNITConfig) -> optax.GradientTransformation:
    rate: Any = config.learning_rate
    if config.halve_every is not None:
        rate = optax.exponential_decay(rate, config.halve_every, 0.5, staircase=True)
    adam = optax.adam(rate, b1=0.5, b2=0.999)
    return optax.chain(optax.add_decayed_weights(config.weight_decay), adam) if config.weight_decay else adam


def build(config: UNITConfig, data: Splits) -> Experiment:
    """Raises:
    DataError: `adaptation` of data without labels, or of two shapes.
    """
    weights = UNITWeights(config.adversarial, config.kl, config.reconstruction, config.cycle_kl, config.cycle)
    loss = LeastSquares() if config.adversarial_loss == "least_squares" else NonSaturating()
    fields = {**networks(config), **both(data), "shared": config.shared, "weights": weights, "adversarial_loss": loss}
    if config.classifier:
        if data.train.num_classes["a"] is None:
            raise ValueError(f"`classifier` requires labelled data in domain a, got {config.data!r}")
        fields |= {name: getattr(config, name) for name in ("class_weight", "feature_weight", "dropout")}
        model = ClassifyingUNIT(**fields, num_classes=data.train.num_classes["a"])
    else:
        model = UNIT(**fields)
    if config.adaptation:
        check_adaptation(data)
    headline: tuple[str, ...] = ("sliced_wasserstein",)
    if config.adaptation:
        headline = ("accuracy_a_to_b", "accuracy_b_to_a")
    elif config.classifier:
        headline = ("accuracy_b",)
    return Experiment(
        model,
        optimizers=dict.fromkeys(model.plays(), optimizer(config)),
        final_metrics=partial(adaptation_metrics, data, seed=config.seed) if config.adaptation else None,
        plots={"a_to_b": partial(plot, data, "a"), "b_to_a": partial(plot, data, "b")},
        headline=headline,
        draws=1,
    )


def plot(data: Splits, origin: str, trained: TrainedModel) -> Any:
    """Test examples, their reconstructions, translations and translations back."""
    to = other(origin)
    x = np.asarray(data.test.sources[origin].head(COLUMNS)["x"])
    translation = trained.translate(x, to=to)
    rows = {
        "input": (x, origin),
        "reconstruction": (trained.reconstruct(x, origin), origin),
        "translation": (translation, to),
        "back": (trained.translate(translation, to=origin), origin),
    }
    return side_by_side(rows, trained.model, f"{origin} to {to}")


if __name__ == "__main__":
    main(UNITConfig, build)
