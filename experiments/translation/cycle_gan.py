"""CycleGAN (Zhu et al. 2017, arXiv:1703.10593): translation between two domains without pairs.

The defaults are the paper's for 128x128 pictures (`--blocks 9` for 256x256): 200 epochs of batches of one, identity
loss, random crops and mirror images. `--cycle-weight 0` and `--identity-weight 0` are its ablations. `--preset small`
is for 16 to 64 pixels: a U-Net as generator, which learns to reproduce details in a fraction of the steps, and a higher
learning rate. The paper's results are votes of people, and scores of a segmentation network on Cityscapes.

Results for the emoji of two vendors, each shuffled on its own: `--preset small --data emoji32_pairs.npz --domains
twitter google --aligned`, 5,000 steps, eight minutes on a shared core; the second row is the mean of three seeds, with
standard errors below 0.005, the others are one seed. Retrieval is the fraction of 200 translations that are nearest to
their true partner, L1 the distance to it, from twitter to google / from google:

                                             retrieval        L1
    untranslated                             0.535 / 0.425    0.169 / 0.169
    CycleGAN                                 0.535 / 0.457    0.149 / 0.155
    --identity-weight 1                      0.535 / 0.460    0.148 / 0.155
    --cycle-weight 0 --identity-weight 5     0.510 / 0.455    0.151 / 0.159
    --identity-weight 0, exchanges colours   0.015 / 0.010    0.263 / 0.287

From twitter, all seeds retrieve the same 107 pictures as no translation does: the translations keep the input. It
explains 0.85 of their variance, but only 0.17 of the true partners'. Weaker ties and a deeper critic move them away
from it, but not nearer to the partners; 2,500 steps, one and one and a half minutes of a core, the first row the mean
of two seeds (0.515 / 0.470 and 0.525 / 0.460), the others one:

                                                     retrieval        L1               variance by the input
    --cycle-weight 1 --identity-weight 0.5           0.520 / 0.465    0.146 / 0.158    0.79 / 0.83
    the same, --critic-widths 64 128 256
        --critic-strides 2 2 1                       0.510 / 0.470    0.151 / 0.164    0.73 / 0.78
    --cycle-weight 1 --identity-weight 0             0.500 / 0.495    0.146 / 0.165

With a small cycle weight, colours are not exchanged even without an identity term.

The bar is high: the same U-Net, trained on the pairs themselves, has 0.485 from twitter
(`experiments.translation.pix2pix`).

Results for digits: `--preset small --data mnist.npz,usps.npz --size 16 --adaptation --batch-size 4 --steps 6000
--learning-rate 2e-4`, two seeds, five to seven minutes each. A classifier of translated MNIST has an accuracy of 0.809
and 0.806 on USPS, one of MNIST itself 0.674 and 0.656; from USPS to MNIST 0.747 and 0.745, and 0.438 and 0.416. With
`--network residual --halvings 1 --steps 3000`, nine minutes, seed 0, 0.831 and 0.757. Liu et al. 2017 report 0.9597
and 0.9358 for UNIT.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from experiments.config import Experiment
from experiments.run import main
from experiments.translating import TranslationConfig, both, plot_translations
from experiments.translation.adaptation import CHUNK, WAYS, adaptation_metrics, check_adaptation, resized
from jaxgen.data import Splits
from jaxgen.metrics import retrieval_accuracy
from jaxgen.models.translation import CycleGAN, ImagePool
from jaxgen.models.translation.cycle_gan import adam_with_linear_decay
from jaxgen.models.translation.domain import OTHER, other
from jaxgen.nets import InstanceNorm, Jitter, PatchCritic, ResNetTranslator, SlimmableTranslator, UNet
from jaxgen.training import TrainedModel
from jaxgen.training.chunks import in_chunks
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative


@dataclass(frozen=True, kw_only=True)
class CycleGANConfig(TranslationConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {
            "steps": 5_000, "checkpoint_every": 1_000, "network": "u_net", "width": 32, "halvings": 3, "blocks": 3,
            "kernel_size": 5, "critic_widths": (64, 128), "critic_strides": (2, 2), "jitter": False,
            "learning_rate": 5e-4,
        }
    }  # fmt: skip
    steps: Count = 266_800
    """Batches: in the paper 200 epochs, of 1,334 pictures for horses and zebras."""
    batch_size: Count = 1
    """Examples of each domain in a batch."""
    ema: Fraction = 0.0
    eval_every: Count = 1_000_000
    """By default, only the last variables are evaluated and kept: without pairs, no metric tells which are better."""
    eval_batch: Count = 50
    checkpoint_every: Count = 10_000
    network: Literal["residual", "u_net", "separable"] = "residual"
    """The generators: the paper's, that of Pix2Pix with instance normalisation and without dropout, or the paper's with
    separable residual blocks, which `experiments.hybrids.gan_compression` can compress."""
    width: Count = 64
    """Channels of the generators' first layer."""
    halvings: Natural = 2
    """Halvings of the resolution in the generators, each with twice the channels."""
    blocks: Count = 6
    """Residual blocks of residual generators; 9 for images of 256 pixels."""
    kernel_size: Count = 7
    """Kernel size of the generators' first and last convolution."""
    critic_widths: tuple[Count, ...] = (64, 128, 256, 512)
    """Channels of the critics' layers."""
    critic_strides: tuple[Count, ...] = (2, 2, 2, 1)
    """Strides of these layers."""
    cycle_weight: NonNegative = 10.0
    """Weight of the cycle loss."""
    identity_weight: NonNegative | None = None
    """Weight of the identity loss; by default half of the cycle loss's, or zero for domains of different shapes."""
    pool: Natural = 50
    """Earlier translations that each critic may see; 0: only new ones."""
    jitter: bool = True
    """Enlarge, crop and mirror the training examples at random."""
    learning_rate: NonNegative = 2e-4
    """Adam's learning rate in the first half of the steps; it falls linearly to zero in the second."""
    size: Count | None = None
    """Resize the images of both domains to this many pixels a side."""
    aligned: bool = False
    """Test examples of the two domains are pairs: measure how near translations are to true partners."""
    adaptation: bool = False
    """Test classifiers trained on translated labelled examples in the other domain."""

    def open(self) -> Splits:
        data = super().open()
        return data if self.size is None else resized(data, self.size)


def build(config: CycleGANConfig, data: Splits) -> Experiment:
    residual = (config.width, config.halvings, config.blocks)
    generator = {
        "residual": ResNetTranslator(*residual, config.kernel_size),
        "separable": SlimmableTranslator.uniform(*residual, kernel_size=config.kernel_size),
        "u_net": UNet(config.width, config.halvings, InstanceNorm, dropout=0.0),
    }[config.network]
    if config.adaptation:
        check_adaptation(data)
    domains = both(data)
    identity_weight = config.identity_weight
    if identity_weight is None:
        same = domains["a"].event_shape == domains["b"].event_shape
        identity_weight = config.cycle_weight / 2 if same else 0.0
    model = CycleGAN(
        generator,
        PatchCritic(config.critic_widths, config.critic_strides, norm=InstanceNorm),
        **domains,
        cycle_weight=config.cycle_weight,
        identity_weight=identity_weight,
        pool=ImagePool(config.pool),
        jitter=Jitter() if config.jitter else None,
        head_size=config.kernel_size,
    )
    optimizer = adam_with_linear_decay(config.learning_rate, config.steps)

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        metrics = partner_metrics(model, data, trained) if config.aligned else {}
        return metrics | (adaptation_metrics(data, trained, config.seed) if config.adaptation else {})

    measured = ("retrieval", "l1") if config.aligned else ("accuracy",) if config.adaptation else ()
    return Experiment(
        model,
        optimizers=dict.fromkeys(model.plays(), optimizer),
        final_metrics=final_metrics,
        plots={f"to_{to}": partial(plot_translations, data, to=to, paired=config.aligned) for to in OTHER},
        baselines={f"copy, {k}": v for k, v in partner_metrics(model, data).items()} if config.aligned else {},
        headline=tuple(f"{name}_{way}" for name in measured for way in WAYS.values()),
        draws=1,
    )


def partner_metrics(model: CycleGAN, data: Splits, trained: TrainedModel | None = None) -> dict[str, float]:
    """`retrieval_a_to_b`, the fraction of translated test examples that are nearest to their own partner, `l1_a_to_b`,
    the mean absolute difference from it, in fractions of the range; and the same of b to a.

    Args:
        trained: None: the examples themselves in place of translations, if both domains have one shape.
    """
    metrics, test = {}, data.test.head(len(data.test))
    if trained is None and model.a.event_shape != model.b.event_shape:
        return {}
    for to, way in WAYS.items():
        x, target, scale = test[other(to)]["x"], test[to]["x"], getattr(model, to).fraction
        y = x if trained is None else in_chunks(partial(trained.translate, to=to), x, size=CHUNK)
        metrics[f"retrieval_{way}"] = float(retrieval_accuracy(scale(y), scale(target)))
        metrics[f"l1_{way}"] = float(abs(scale(y) - scale(target)).mean())
    return metrics


if __name__ == "__main__":
    main(CycleGANConfig, build)
