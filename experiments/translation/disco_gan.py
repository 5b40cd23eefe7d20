"""DiscoGAN (Kim et al. 2017, "Learning to Discover Cross-Domain Relations with GANs", arXiv:1703.05192).

Result on mixtures of five and ten modes: all ten modes covered, no collisions, 0.960 of the translations within three
standard deviations of a mode; 10,000 steps, one to three minutes on a busy core, by the defaults.

The paper compares DiscoGAN with a GAN (`--arm gan`) and a GAN with reconstruction (`--arm recongan`) on such mixtures
in figure 4, without numbers, after 50,000 steps; `experiments.studies.disco_gan` measures them over ten seeds. `--game
authors` is the game of the authors' code.

`--data coil20_32.npz --objects 2 5` translates between views of two cars, unpaired, and measures whether the angle is
preserved: `angle_correlation` is 1 if the angles of the test images nearest to the translations are the inputs' up to a
constant offset and the sense of rotation; `axis_correlation` is the same modulo 180 degrees. Correlations of the
nearest images to the inputs themselves, and of unrelated angles, are baselines. On the whole circle the former are 0.69
and 0.17, since a car's front looks like the other's back (axis 0.98 and 0.99; unrelated 0.14). The paper's views are
from -75 to 75 degrees around the front, here `--sector 190 340` (untranslated 0.999 both ways, unrelated 0.58), of half
of all models of cars in each domain.

The angle is not found: the authors' settings for angles, `--preset small --game authors --bottleneck 100 --start 0.9
--rate 0.9`, have 0.15 (axis 0.69) on the whole circle after 4,318 steps of 36, ten minutes on a busy core, and 0.65 and
0.71 in the sector after 2,000 steps. The map is piecewise: parts are mirrored or exchanged. The networks can represent
the right one, and the game keeps it: after 400 steps on pairs of equal angles, the correlation is still 1.000 after
1,000 steps of the game on the whole circle, and after 550 in the sector, with a reconstruction loss of 0.0006. It keeps
a wrong one as well: generators that were trained on one with six pieces of the sector exchanged have the same 0.590
after 1,500 steps of the game, reconstruct better (0.0003), and leave the critics at chance (0.69). So with one car and
31 views in a domain the game has an optimum at each one-to-one map of views, and nothing in it prefers the angle; the
paper's domains have many cars each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from flax import linen as nn

from experiments.config import Experiment
from experiments.run import main
from experiments.translating import COLUMNS, TranslationConfig, both, plot_translations, side_by_side
from jaxgen import plotting
from jaxgen.data import ArraySource, DataError, Splits, Zipped, checks, toys
from jaxgen.metrics import angle_agreement, mode_collisions, mode_coverage
from jaxgen.models.translation import Curriculum, DiscoGAN, disco_gan
from jaxgen.nets import MLP, DiscoGANCritic, DiscoGANGenerator, Stages
from jaxgen.nets.decoders import halvings
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative, Probability

ARMS: Mapping[str, Mapping[str, Any]] = {
    "gan": disco_gan.GAN, "recongan": disco_gan.RECONSTRUCTION_GAN, "discogan": {}
}  # fmt: skip
"""The paper's models, by the fields that differ from DiscoGAN's."""
MIXTURES = {
    "five_gaussians": (toys.FIVE_GAUSSIANS_CENTERS, toys.FIVE_GAUSSIANS_STD),
    "ten_gaussians": (toys.TEN_GAUSSIANS_CENTERS, toys.TEN_GAUSSIANS_STD),
    "ten_paired_gaussians": (toys.TEN_PAIRED_GAUSSIANS_CENTERS, toys.TEN_PAIRED_GAUSSIANS_STD),
}
"""Means and standard deviations of known mixtures, by the name of the data."""
COVERED = 0.01
"""A mode is covered if it has this fraction of all samples, within three standard deviations."""
DRAWN = 2_000
"""Points of a plot."""
SHUFFLES = 100
"""Random pairings whose mean agreement is that of unrelated angles."""
LIMIT = 2.2
"""Half the side of a plot's square; the modes are within 2."""


@dataclass(frozen=True, kw_only=True)
class DiscoGANConfig(TranslationConfig):
    PRESETS: ClassVar = {
        "small": {"steps": 6_000, "batch_size": 36, "width": 16, "eval_every": 2_000, "steps_per_call": 50}
    }  # fmt: skip

    data: str = "five_gaussians,ten_gaussians"
    """Two domains (`jaxgen.data.domains`), or with `--objects` a .npz file of rotated objects."""
    objects: tuple[Natural, Natural] | None = None
    """Two objects of a file with the arrays `x`, `object` and `angle_degrees`, such as COIL-20: the domains."""
    sector: tuple[Natural, Natural] | None = None
    """Keep views from the first of these angles, in degrees, to the second, in the sense of rotation; None: all."""
    arm: Literal["discogan", "recongan", "gan"] = "discogan"
    """The paper's model, or one of its ablations, which translate from a to b only."""
    game: Literal["paper", "authors"] = "paper"
    """The paper's losses and turns, or those of the authors' code."""
    steps: Count = 10_000
    batch_size: Count = 200
    ema: Fraction = 0.0
    eval_every: Count = 2_500
    checkpoint_every: Count = 2_500
    steps_per_call: Count = 1_000
    log_every: Count = 1_000
    width: Count = 128
    """Units of dense layers; for images, channels of the first convolution, 64 in the paper."""
    bottleneck: Natural = 0
    """For images, dimension of a dense layer in the generators; 0: none. 100 in the authors' code for angles."""
    learning_rate: NonNegative = 2e-4
    weight_decay: NonNegative | None = None
    """Of the L2 penalty; None: 1e-4 as in the paper, or 1e-5 in the authors' game."""
    curriculum: Natural | None = None
    """In the authors' game, steps with the rate `start`; by default the authors' 10,000, at most a fifth of all."""
    start: Probability = 0.01
    """In the authors' game, the share of the reconstruction in the generators' loss at first; 0.9 for angles."""
    rate: Probability = 0.5
    """In the authors' game, that share afterwards; 0.9 for angles."""

    def check(self) -> None:
        super().check()
        if self.sector is not None and self.objects is None:
            raise ValueError("`sector` needs `objects`, whose views it selects")

    def open(self) -> Splits:
        if self.objects is None:
            return super().open()
        return rotated_objects(checks.data_path(self.data, self.data_dir), self.objects, self.sector)


def rotated_objects(path: Path, objects: tuple[int, int], sector: tuple[int, int] | None = None) -> Splits:
    """Images of two objects as domains a and b, their angles in degrees as labels.

    All splits are the whole sets: what a translation must find, the pairs of equal angles, is in none of them.

    Args:
        path: a .npz file with `x`, uint8 [N, H, W] or [N, H, W, C], `object` and `angle_degrees`, integers [N].
        sector: the first and the last angle that are kept, in the sense of rotation; None: all.

    Raises:
        DataError: the file cannot be read, or has other arrays, no such object, or no views in the sector.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            x, number, angle = (file[name] for name in ("x", "object", "angle_degrees"))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} must be a .npz file with 'x', 'object' and 'angle_degrees': {error}") from error
    if missing := sorted(set(objects) - set(number.tolist())):
        raise DataError(f"`objects` must be among those of {path.name}, {sorted(set(number.tolist()))}, got {missing}")
    images = x[..., None] if x.ndim == 3 else x
    first, last = sector or (0, 359)
    kept = (angle.astype(np.int64) - first) % 360 <= ((last - first) % 360 if last - first < 360 else 360)
    if missing := [i for i in objects if not kept[number == i].any()]:
        raise DataError(f"{path.name} has no views of objects {missing} in the sector {sector}")

    def source(i: int) -> ArraySource:
        seen = kept & (number == i)
        arrays = {"x": images[seen], "label": angle[seen]}
        return ArraySource(arrays, levels=256, num_classes=360, name=f"{path.name}, object {i}")

    return Splits(*[Zipped(dict(zip("ab", map(source, objects), strict=True)))] * 3)


PAIRS = {"a": ("b", "a"), "b": ("a", "b")}
"""By domain, from which and to which its generator translates."""


def model(config: DiscoGANConfig, data: Splits) -> DiscoGAN:
    """The configured game on dense networks for vectors, or convolutional ones for images."""
    domains = both(data)
    networks = {name: _networks(config, *(domains[n].event_shape for n in pair)) for name, pair in PAIRS.items()}
    (to_a, critic_a), (to_b, critic_b) = networks["a"], networks["b"]
    fields = {**ARMS[config.arm], "learning_rate": config.learning_rate}
    if config.game == "authors":
        fields |= disco_gan.AUTHORS_CODE
        steps = min(10_000, config.steps // 5) if config.curriculum is None else config.curriculum
        fields["balance"] = Curriculum(start=config.start, rate=config.rate, steps=steps)
    if config.weight_decay is not None:
        fields["weight_decay"] = config.weight_decay
    return DiscoGAN(to_a, to_b, critic_a, critic_b, **domains, **fields)


def _networks(config: DiscoGANConfig, origin: tuple[int, ...], to: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """The generator to a domain, and its critic."""
    if not len(origin) == len(to) == 3:
        # of the paper's three and five layers, the last of the critic is the model's
        return MLP((config.width,) * 3), Stages(tuple(MLP((config.width,)) for _ in range(4)))
    widths = tuple(config.width << i for i in range(halvings(to)))
    if not widths:
        raise ValueError(f"images must have at least 8 pixels a side, a multiple of a power of two, got shape {to}")
    return DiscoGANGenerator(widths, config.bottleneck or None), DiscoGANCritic(widths)


def build(config: DiscoGANConfig, data: Splits) -> Experiment:
    built, names = model(config, data), config.data.split(",")
    if config.objects is not None:
        return Experiment(
            built, baselines=angle_baselines(data.test), draws=1,
            headline=("angle_correlation_b", "axis_correlation_b"),
            final_metrics=partial(angles, data.test),
            plots={"translations": partial(plot_objects, data.test), "angles": partial(plot_angles, data.test)},
        )  # fmt: skip
    if len(names) == 2 and set(names) <= set(MIXTURES):
        return Experiment(
            built, draws=1, headline=("modes_b", "collisions_b", "high_quality_b"),
            final_metrics=partial(modes, config.data, data.test),
            plots={"translations": partial(plot_modes, config.data, data.test)},
        )  # fmt: skip
    plots = {"translations": partial(plot_translations, data)} if len(built.b.event_shape) == 3 else {}
    return Experiment(built, draws=1, plots=plots)


def mixtures(data: str) -> dict[str, tuple[Any, float]]:
    """Means and standard deviations of two known mixtures, by domain."""
    return {domain: MIXTURES[name] for domain, name in zip("ab", data.split(","), strict=True)}


def modes(data: str, test: Zipped, trained: TrainedModel) -> dict[str, float]:
    """For each judged domain: covered `modes`, `high_quality` fraction, `collisions` of the other domain's modes. For
    each domain that can be translated there and back: `distance`, mean |G_A(G_B(x)) - x|.
    """
    metrics, known = {}, mixtures(data)
    for to, (origin, _) in PAIRS.items():
        x, label = (test.sources[origin].arrays[name] for name in ("x", "label"))
        if to in trained.model.judged:
            (centers, std), y = known[to], trained.translate(x, to=to)
            coverage = mode_coverage(y, centers, std, fair=COVERED * len(centers))
            metrics |= {
                f"modes_{to}": coverage["fair_modes"], f"high_quality_{to}": coverage["high_quality"],
                f"collisions_{to}": mode_collisions(y, label, len(known[origin][0]), centers),
            }  # fmt: skip
        if len(trained.model.generators) == 2:
            metrics[f"distance_{origin}"] = np.linalg.norm(trained.reconstruct(x, origin) - x, axis=-1).mean()
    return {name: float(value) for name, value in metrics.items()}


def plot_modes(data: str, test: Zipped, trained: TrainedModel) -> Any:
    """Translated points in the colours of their modes, over the critic's probabilities: the paper's figure 4."""
    panels, targets, surfaces, known = {}, {}, {}, mixtures(data)
    for to in trained.model.judged:
        head, title = test.sources[PAIRS[to][0]].head(DRAWN), f"translations to {to}"
        panels[title], targets[title] = (trained.translate(head["x"], to=to), head["label"]), known[to][0]
        surfaces[title] = probability(trained, plotting.mesh(LIMIT), to)
    return plotting.mapped_points(panels, targets, surfaces, LIMIT)


def probability(trained: TrainedModel, x: np.ndarray, domain: str) -> np.ndarray:
    """The critic's probability that points belong to its domain."""
    return 1 / (1 + np.exp(-np.asarray(trained.score(x, domain=domain))))


def angles(test: Zipped, trained: TrainedModel | None = None) -> dict[str, float]:
    """For each judged domain, how well the angles of the test images nearest to the translations agree with the
    inputs' (`angle_agreement`), and `axis_correlation`, that of the doubled angles, for objects whose front looks like
    their back; without a model, of the images nearest to the inputs themselves.
    """
    metrics = {}
    for to in ("a", "b") if trained is None else trained.model.judged:
        angle, found, _ = nearest(test, to, trained)
        metrics |= {f"{name}_{to}": float(value) for name, value in angle_agreement(angle, found).items()}
        metrics[f"axis_correlation_{to}"] = float(angle_agreement(2 * angle, 2 * found)["angle_correlation"])
    return metrics


def angle_baselines(test: Zipped) -> dict[str, float]:
    """The correlations of `angles` without a model, `untranslated`, and their means over random pairs, `unrelated`."""
    rng = np.random.default_rng(0)
    known = {f"untranslated, {name}": value for name, value in angles(test).items() if "correlation" in name}
    angle, other = (test.sources[name].arrays["label"] for name in "ab")
    pairs = [(angle, rng.choice(other, len(angle))) for _ in range(SHUFFLES)]
    for name, factor in (("angle", 1), ("axis", 2)):
        values = [angle_agreement(factor * a, factor * b)["angle_correlation"] for a, b in pairs]
        known[f"unrelated, {name}_correlation"] = float(np.mean(values))
    return known


def nearest(test: Zipped, to: str, trained: TrainedModel | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles of the other domain's examples, angles of the target's examples nearest to their translations, indices."""
    origin, target = test.sources[PAIRS[to][0]].arrays, test.sources[to].arrays
    y = origin["x"] if trained is None else trained.translate(origin["x"], to=to)
    flat = [np.asarray(x, np.float32).reshape(len(x), -1) for x in (y, target["x"])]
    index = ((flat[0][:, None] - flat[1]) ** 2).sum(-1).argmin(1)
    return origin["label"], target["label"][index], index


def plot_angles(test: Zipped, trained: TrainedModel) -> Any:
    """Angles of inputs and of the test images nearest to their translations, one colour for each direction."""
    found = {to: nearest(test, to, trained)[:2] for to in trained.model.judged}
    colour = np.concatenate([np.full(len(pair[0]), "ab".index(to)) for to, pair in found.items()])
    return plotting.points(np.concatenate([np.stack(pair, 1) for pair in found.values()]), colour, "angles in degrees")


def plot_objects(test: Zipped, trained: TrainedModel) -> Any:
    """Inputs at equally spaced angles, translations, the test images nearest to them, and reconstructions."""
    rows = {}
    for to in trained.model.judged:
        origin = PAIRS[to][0]
        x, target, index = test.sources[origin].arrays["x"], test.sources[to].arrays["x"], nearest(test, to, trained)[2]
        shown = np.linspace(0, len(x), COLUMNS, endpoint=False).astype(int)
        rows[f"{origin}: input"] = (x[shown], origin)
        rows[f"{to}: translation"] = (trained.translate(x[shown], to=to), to)
        rows[f"{to}: nearest"] = (target[index[shown]], to)
        if len(trained.model.generators) == 2:
            rows[f"{origin}: reconstruction"] = (trained.reconstruct(x[shown], origin), origin)
    return side_by_side(rows, trained.model)


if __name__ == "__main__":
    main(DiscoGANConfig, build)
