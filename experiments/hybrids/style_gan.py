"""StyleGAN2 (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", arXiv:1912.04958).

The defaults are the paper's configuration F for 1024 pixels, the presets `ffhq256` and `cifar` those of the authors'
code for 256 and 32 pixels (stylegan2-ada-pytorch), which train on 25 and 100 million images. `--preset small` is for
28 to 64 pixels on a CPU. Published on FFHQ, 1024 pixels: a Frechet inception distance of 2.84, 4.40 for the first
StyleGAN, which has path lengths of 665 in Z and 233 in W, with LPIPS features, and separabilities of 165 and 3.7.

With `--extractor FOLDER`, a run of `experiments.gans.feature_extractor` on the same data, the final metrics include the
perceptual path length in Z and in W and the linear separability of its classes, which do not compare with those of
other classifiers, and how often a mixture of two samples has the class of the one whose coarse styles it has.

Result on MNIST, one seed, ten minutes of one core, 153,600 images: `--preset small --data mnist.npz --steps 4800
--measured 1000 --extractor FOLDER`. Frechet distance 21 (138 after 1,200 steps), recall 0.75, divergence of the classes
0.016 nats. Path lengths of 5134 in Z and 3111 in W, separabilities of 1.81 and 1.00; of mixtures 99 % have the class of
the sample with the coarse styles.

The weight of the penalty decides whether samples stay different. Their distances, as a fraction of those of data, fall
to 0.73 after 450 steps with `--r1-weight 0.3`, and with 0.05 and 0.01 at half the width to 0.30 and 0.32 after 1,500:
variations of one shape. With 2, the preset's, they come back from 0.73 to 0.87. Styles of two latents bring them down
too: after 1,200 steps they are at 0.62 and a Frechet distance of 131; with `--path-weight 2` at 0.55 and 162, with
`--mixing 0.9` at 0.31 and 286, with both at 0.38 and 243, one seed each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import numpy as np

from experiments.adversarial import AdversarialConfig, adam_optimizers, experiment, fields
from experiments.config import Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.data import Splits
from jaxgen.metrics.paths import perceptual_path_length, spherical_interpolation
from jaxgen.metrics.probes import linear_separability
from jaxgen.models.gans import R1, AdaptiveAugmentation, Lazy, Rotations
from jaxgen.models.gans.adaptive_augmentation import AUGMENTATION
from jaxgen.models.hybrids import PathLength, StyleGAN
from jaxgen.nets import Projection, StyleCritic, StyleGenerator, StyleMapping, StyleSynthesis
from jaxgen.nets.decoders import halved, halvings
from jaxgen.nets.style import style_widths
from jaxgen.training import TrainedModel
from jaxgen.training.chunks import in_chunks
from jaxgen.training.extractor import Extractor, load_extractor
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative

SHOWN = 6
"""Samples in a row of a plot."""
PART = 100
"""Latents in a call of the networks."""


def half_life(images: int, batch_size: int) -> float:
    """The decay per batch with which averages have lost half of their weight after so many images."""
    return 0.5 ** (batch_size / images)


@dataclass(frozen=True, kw_only=True)
class StyleGANConfig(AdversarialConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "ffhq256": {
            "steps": 390_625, "batch_size": 64, "width": 64, "learning_rate": 2.5e-3, "critic_rate": 2.5e-3,
            "r1_weight": 1.0, "ema": half_life(20_000, 64),
        },
        "cifar": {
            "steps": 1_562_500, "batch_size": 64, "width": 512, "learning_rate": 2.5e-3, "critic_rate": 2.5e-3,
            "r1_weight": 0.01, "mapping_layers": 2, "group": 32, "path_weight": 0.0, "mixing": 0.0,
            "ema": half_life(500_000, 64),
        },
        "small": {
            "steps": 4_000, "width": 16, "max_width": 64, "latents": 64, "mapping_layers": 4, "learning_rate": 2.5e-3,
            "critic_rate": 2.5e-3, "r1_weight": 2.0, "path_weight": 0.0, "mixing": 0.0, "ema": 0.995,
        },
    }  # fmt: skip

    preset: Literal["paper", "ffhq256", "cifar", "small"] = "paper"
    """Defaults: those of the paper or the authors' code, or those for images of 28 to 64 pixels."""
    steps: Count = 781_250
    batch_size: Count = 32
    network: Literal["style"] = "style"
    """The paper's networks."""
    width: Count = 32
    """Channels at the highest resolution, doubled at each halving of it."""
    max_width: Count = 512
    """Most channels at any resolution."""
    latents: Count = 512
    """Dimension of the latents and of the styles."""
    mapping_layers: Count = 8
    mapping_rate: NonNegative = 0.01
    """Learning rate of the mapping, as a multiple of the generator's."""
    group: Count = 4
    """Examples whose standard deviations the critic sees; 1: none."""
    learning_rate: NonNegative = 2e-3
    critic_rate: NonNegative = 2e-3
    b1: Fraction = 0.0
    ema: Fraction = half_life(10_000, 32)
    r1_weight: NonNegative = 10.0
    """Weight gamma of the gradient penalty on data."""
    r1_every: Count = 16
    """Steps between two computations of it."""
    path_weight: NonNegative = 2.0
    """Weight of the path length regularisation; 0: none."""
    path_every: Count = 4
    mixing: Fraction = 0.9
    """Fraction of the samples with styles of two latents."""
    examples: Natural = 0
    """Training examples to take, the first of a permutation; 0: all."""
    truncation: Fraction = 0.7
    """Truncation of the plotted samples beside those without."""
    rotations: bool = False
    """The critic also tells rotations (the self-supervised GAN)."""
    ada: bool = False
    """Adaptive augmentation of the critic's inputs."""
    ada_images: Count = 500_000
    """Examples in which the probability of augmentation can go from 0 to 1."""


def build(config: StyleGANConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: not images; more examples than there are.
    """
    if config.examples:
        data = data._replace(train=data.train.subset(chosen(config.examples, len(data.train))))
    shape = data.train.event_shape
    levels = halvings(shape)
    widths = style_widths(levels + 1, config.width, config.max_width)
    terms = (Lazy(R1(config.r1_weight), config.r1_every),)
    terms += (Rotations(),) * config.rotations
    terms += (AdaptiveAugmentation(images=config.ada_images),) * config.ada
    model = StyleGAN(
        StyleGenerator(
            StyleMapping(config.latents, config.mapping_layers, config.mapping_rate),
            StyleSynthesis(shape[-1], halved(shape, levels), widths[::-1]),
        ),
        StyleCritic(widths, config.group),
        **fields(config, data),
        terms=terms,
        critic_condition=Projection() if config.conditional else None,
        path_length=PathLength(config.path_weight, every=config.path_every) if config.path_weight else None,
        mixing=config.mixing,
    )
    plots = {}
    if plotting.drawable(data.test.head(1)["x"]) and not config.conditional:
        plots = {"mixing": plot_mixing, "truncation": partial(plot_truncation, truncation=config.truncation)}
    measured = None if config.extractor is None or config.conditional else partial(measure, config=config)
    optimizers = adam_optimizers(config, b2=0.99)
    return experiment(config, data, model, optimizers, plots=plots, final_metrics=measured, data=data)


def chosen(examples: int, total: int) -> np.ndarray:
    """Indices of training examples, the same for all seeds of a run."""
    if examples > total:
        raise ValueError(f"`examples` must be at most the {total} training examples, got {examples}")
    return np.random.default_rng(0).permutation(total)[:examples]


def measure(trained: TrainedModel, config: StyleGANConfig) -> dict[str, float]:
    """Path length, separability, and the class of mixtures, by the extractor."""
    extractor, key = load_extractor(config.extractor), jax.random.key(config.seed)
    n, metrics = config.measured, {}
    for space in ("Z", "W"):
        metrics[f"path length in {space}"] = path_length(trained, extractor, space, n, key)
    z = np.asarray(trained.noise(key, n))
    w = in_chunks(trained.styles, z, size=PART)[:, 0]
    logits = extractor.logits(in_chunks(trained.decode, z, size=PART))
    metrics |= {f"separability in {name}": linear_separability(x, [logits]) for name, x in (("Z", z), ("W", w))}
    metrics["class by the coarse half"] = class_by_coarse_styles(trained, extractor, w)
    if config.ada:
        metrics["probability of augmentation"] = float(trained.variables["critic"][AUGMENTATION]["probability"])
    return metrics


def path_length(
    trained: TrainedModel, extractor: Extractor, space: Literal["Z", "W"], n: int, key: jax.Array
) -> float:
    """E |d features / dt|^2 on the paths between n pairs of latents: great circles in Z, lines in W."""
    # without a number of levels, images are real numbers, which are not rounded
    model = dataclasses.replace(trained.model, levels=None)
    classifier = dataclasses.replace(extractor.trained.model, levels=None)
    first_key, second_key, position_key = jax.random.split(key, 3)

    def features(a: jax.Array, b: jax.Array, t: jax.Array) -> jax.Array:
        a, b, t = a[None], b[None], t[None]
        if space == "Z":
            styles = model.styles(trained.variables, spherical_interpolation(a, b, t))
        else:
            first, second = (model.styles(trained.variables, z) for z in (a, b))
            styles = first + t[:, None, None] * (second - first)
        return classifier.features(extractor.trained.variables, model.synthesize(trained.variables, styles))[0]

    @jax.jit
    def length(first_key, second_key, t):
        ends = [model.noise(key, n) for key in (first_key, second_key)]
        return perceptual_path_length(lambda t: jax.lax.map(lambda x: features(*x), (*ends, t), batch_size=PART), t)

    return float(length(first_key, second_key, jax.random.uniform(position_key, (n,))))


def class_by_coarse_styles(trained: TrainedModel, extractor: Extractor, w: np.ndarray) -> float:
    """Of samples that mix the coarse half of the styles of one sample with the fine half of another one of another
    class, the fraction with the class of the former, among those with either class.
    """
    layers = trained.model.generator.synthesis.num_styles
    coarse, fine = (np.repeat(half[:, None], layers, 1) for half in np.split(w[: len(w) // 2 * 2], 2))
    mixed = np.where((np.arange(layers) < layers // 2)[:, None], coarse, fine)
    first, second, found = (
        extractor.logits(in_chunks(trained.synthesize, styles, size=PART)).argmax(-1)
        for styles in (coarse, fine, mixed)
    )
    counted = (first != second) & ((found == first) | (found == second))
    return float((found == first)[counted].mean())


def plot_mixing(trained: TrainedModel) -> Any:
    """Sources of coarse, middle and fine styles in the first row, those of all others in the first column."""
    layers = trained.model.generator.synthesis.num_styles
    styles = np.asarray(trained.styles(np.asarray(trained.noise(jax.random.key(0), SHOWN + 3))))
    images = np.asarray(trained.synthesize(styles))
    sources, others = styles[:SHOWN], styles[SHOWN:]
    third = max(1, layers // 3)
    bounds = {"coarse": (0, third), "middle": (third, layers - third), "fine": (layers - third, layers)}
    blank = np.full_like(images[:1], images.max())
    rows = {"": np.concatenate([blank, images[:SHOWN]])}
    for i, (name, (first, last)) in enumerate(bounds.items()):
        taken = (np.arange(layers) >= first) & (np.arange(layers) < last)
        mixed = np.where(taken[:, None], sources, others[i])
        rows[name] = np.concatenate([images[SHOWN + i : SHOWN + i + 1], np.asarray(trained.synthesize(mixed))])
    return plotting.rows(rows, "styles of the first row in the other rows' samples")


def plot_truncation(trained: TrainedModel, truncation: float) -> Any:
    """The same latents without truncation, with some, and the mean style."""
    z = np.asarray(trained.noise(jax.random.key(0), SHOWN))
    values = {"1": 1.0, f"{truncation:g}": truncation, "0": 0.0}
    return plotting.rows({name: np.asarray(trained.decode(z, None, value)) for name, value in values.items()})


if __name__ == "__main__":
    main(StyleGANConfig, build)
