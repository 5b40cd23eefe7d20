"""GAN compression: a small generator distilled from a trained Pix2Pix or CycleGAN (Li et al. 2020, arXiv:2003.08936).

The teacher is a Pix2Pix whose generator has separable residual blocks, trained by this experiment without `--teacher`.
From its folder a smaller generator is distilled; `--fractions` trains one for all numbers of channels at once; from
that run's folder `--start FOLDER --budget N` searches the channels with the best score on the validation split within N
multiply-adds, and trains the network that has them:

    python -m experiments.hybrids.gan_compression --out T --width 24
    python -m experiments.hybrids.gan_compression --out S --width 6 --teacher T
    python -m experiments.hybrids.gan_compression --out A --width 12 --teacher T --fractions 0.25 0.5 0.75 1
    python -m experiments.hybrids.gan_compression --out F --teacher T --start A --budget 9.5e6

`--teacher` can be a CycleGAN of `experiments.translation.cycle_gan --network separable`, whose translations from a to b
are learned with `--target teacher`; with `--unpaired`, a and b need not belong together, and all metrics compare with
the teacher's translations. The paper's weights for CycleGAN are `--l1-weight 10 --adversarial-weight 2
--distillation-weight 0.01`.

`experiments.studies.compression` runs them beside their controls. The paper's edges to shoes: from 56.8 G to 4.81 G
multiply-adds, FID from 24.2 to 26.6.

Result on emoji32_pairs.npz, seed 0, half a minute of a core each, with `--preset small --data emoji32_pairs.npz
--domains twitter google --jitter 1 --critic-width 12 --steps 800`, widths 12 (teacher), 6 (all channels) and 3:

                    multiply-adds    L1     to the teacher    retrieval
    teacher                 7.2 M    0.159           0.000        0.255
    from scratch            0.9 M    0.183           0.108        0.080
    distilled               0.9 M    0.179           0.100        0.115
    random channels         0.9 M    0.179           0.099        0.115
    searched                0.9 M    0.176           0.097        0.155

Of 58 candidates the searched one has the least L1 on the validation split, 0.179 before it is trained on; random
channels had 0.184. Both have 800 steps more than the distilled student, those of the network that they are cut from.

A CycleGAN's generator, its teacher and the network from scratch trained by `experiments.translation.cycle_gan
--preset small --data emoji32_pairs.npz --domains twitter google --network separable --blocks 4 --steps 4000
--cycle-weight 1 --identity-weight 0.5 --aligned` with widths 12 and 3, and the student by `--halvings 3 --kernel-size 5
--target teacher` with the weights above, 2,000 steps of batches of 4 in a minute: L1 to the true partner 0.206 for the
teacher, 0.226 from scratch and 0.201 distilled, retrieval 0.100, 0.035 and 0.090, with 0.98 M multiply-adds. (The
teacher is a poor one, a U-Net retrieves 0.535.)

The defaults are the paper's for 256x256 pixels; `--preset small` is for 32 to 64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.config import Experiment
from experiments.run import main
from experiments.translating import COLUMNS, PairsConfig, both, side_by_side
from experiments.translation.scores import Judges, baselines_l1, paired_scores, pairs
from jaxgen.data import Splits
from jaxgen.models.hybrids import DistilledPix2Pix, multiply_adds, search_channels, taught_by
from jaxgen.models.translation import CycleGAN, Pix2Pix
from jaxgen.nets import InstanceNorm, Jitter, PatchCritic, SlimmableTranslator
from jaxgen.training import TrainedModel, load
from jaxgen.training.chunks import in_chunks
from jaxgen.training.ranges import Count, Natural, NonNegative, Probability

Score = Literal[
    "l1", "psnr", "retrieval", "label_back_pixel_accuracy", "label_back_class_accuracy", "label_back_iou",
    "frechet_relu2_1",
]  # fmt: skip
HIGHER_IS_BETTER = ("psnr", "retrieval", "label_back_pixel_accuracy", "label_back_class_accuracy", "label_back_iou")


@dataclass(frozen=True, kw_only=True)
class CompressionConfig(PairsConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {
            "steps": 2_000, "batch_size": 4, "ema": 0.99, "eval_every": 2_000, "width": 24, "blocks": 4,
            "critic_width": 24, "receptive_field": 34, "learning_rate": 8e-4, "population": 24, "generations": 4,
        },
    }  # fmt: skip

    width: Count = 64
    """Channels of the generator's first and last layer, doubled at each halving."""
    channels: tuple[Count, ...] = ()
    """Channels of each layer, in place of `width` (`jaxgen.nets.SlimmableTranslator`)."""
    halvings: Natural = 2
    blocks: Count = 9
    """Residual blocks."""
    kernel_size: Count = 7
    """Side of the first layer's kernel."""
    critic_width: Count = 128
    """Channels of the critic's first layer; the teacher's if there is one."""
    distillation_weight: NonNegative = 1.0
    """Weight of the distance from the teacher's features."""
    target: Literal["truth", "teacher"] = "truth"
    """What the L1 distance compares translations with."""
    teacher: Path | None = None
    """Run folder of the teacher, a run of this experiment or a CycleGAN; None: train one."""
    unpaired: bool = False
    """Examples of the domains do not belong together: metrics compare with the teacher's translations."""
    fractions: tuple[Probability, ...] = ()
    """Train for all numbers of channels: in each step, each layer draws one of these fractions of its channels."""
    start: Path | None = None
    """Run folder of a student with more channels to start from; by default the teacher's first channels, sorted."""
    budget: NonNegative = 0.0
    """Search the channels of `start` with at most this many multiply-adds; 0: `width` or `channels` give them."""
    score: Score = "l1"
    """Metric of the validation split that the search optimises (`experiments.translation.scores`)."""
    population: Count = 100
    """Candidates of a generation of the search."""
    generations: Natural = 500
    """Generations of the search after the random one; 0, and a population of 1: random channels."""

    def check(self) -> None:
        super().check()
        if self.teacher is None and (self.fractions or self.start or self.budget or self.target == "teacher"):
            given = "`fractions`, `start`, `budget` or `target` of 'teacher'"
            raise ValueError(f"`teacher` must be a run's folder with {given}, got None")
        if self.unpaired and (self.teacher is None or self.target == "truth"):
            raise ValueError("`unpaired` requires a `teacher` and `target` of 'teacher': there is no truth")
        if self.budget and (self.start is None or self.seeds > 1):
            raise ValueError("`budget` requires `start` and `seeds` of 1: seeds would have different channels")

    @property
    def paired(self) -> bool:
        return not self.unpaired


def build(config: CompressionConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: folders of other models; a budget that no channels have.
    """
    judges = Judges.load(config.segmenter, config.trunk)
    model, start = teacher(config, data), None
    if config.teacher is not None:
        source = loaded(config.teacher, Pix2Pix, CycleGAN)
        if isinstance(source.model, CycleGAN):
            source = TrainedModel(*taught_by(source.model, source.variables))
        model = distilled(config, model, source.model)
        if config.start is not None:
            source = loaded(config.start, DistilledPix2Pix)
        if config.budget:
            model = dataclasses.replace(model, generator=searched(config, source, data, judges))
        start = model.start(source.model, source.variables, data.train.head(1))
    adam = optax.adam(config.learning_rate, b1=0.5)
    x, y = pairs(data.test)

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        cost, truth = {"multiply_adds": multiply_adds_of(trained)}, examples(config, trained, x, y)
        return paired_scores(x, in_chunks(trained.translate, x, size=config.eval_batch), truth, judges) | cost

    return Experiment(
        model, optimizers=dict.fromkeys(model.plays(), adam), final_metrics=final_metrics, draws=1, start=start,
        plots={"translations": partial(plot, config, data)}, headline=("l1", "multiply_adds"),
        baselines={} if config.unpaired else baselines_l1(data),
    )  # fmt: skip


def examples(config: CompressionConfig, trained: TrainedModel, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What translations of x are compared with: y, or without pairs the teacher's translations."""
    return in_chunks(trained.teach, x, size=config.eval_batch) if config.unpaired else y


def teacher(config: CompressionConfig, data: Splits) -> Pix2Pix:
    network = SlimmableTranslator.uniform(config.width, config.halvings, config.blocks, kernel_size=config.kernel_size)
    if config.channels:
        network = SlimmableTranslator(config.channels, config.halvings, config.kernel_size)
    network.check()
    return Pix2Pix(
        **both(data), generator=network, jitter=Jitter(config.jitter, config.mirror),
        critic=PatchCritic.with_receptive_field(config.receptive_field, config.critic_width, norm=InstanceNorm),
        adversarial_weight=config.adversarial_weight, l1_weight=config.l1_weight,
    )  # fmt: skip


def distilled(config: CompressionConfig, model: Pix2Pix, source: Pix2Pix) -> DistilledPix2Pix:
    """`model` with the teacher, the critic and the last layer of `source`, and with the choices of channels that
    `fractions` are."""
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    taken = ("critic", "critic_condition", "critic_weight", "adversarial_loss", "head_size", "head_padding")
    fields |= {name: getattr(source, name) for name in taken}
    if config.target == "teacher":
        fields["monitor"] = ("l1_to_teacher", "min")
    network: SlimmableTranslator = model.generator
    if config.fractions:
        choices = tuple(tuple(max(1, round(f * n)) for f in config.fractions) for n in network.channels)
        fields["generator"] = dataclasses.replace(network, choices=choices)
    # as in the authors' nine blocks: before them, after a third of them, after two thirds, after all
    layers = tuple(dict.fromkeys(round(i * network.blocks / 3) for i in range(4)))
    return DistilledPix2Pix(
        **fields, teacher=source.generator, layers=layers, target=config.target,
        distillation_weight=config.distillation_weight,
    )  # fmt: skip


def loaded(folder: Path, *kinds: type) -> TrainedModel:
    """Raises:
    ValueError: a run of another model, or one whose generator has no limits of channels.
    """
    trained = load(folder)
    if type(trained.model) not in kinds or not isinstance(trained.model.generator, SlimmableTranslator):
        expected = " or a ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{str(folder)!r} must hold a {expected} with separable blocks, got {trained!r}")
    return trained


def searched(config: CompressionConfig, source: TrainedModel, data: Splits, judges: Judges) -> SlimmableTranslator:
    """The generator of `source` with the channels that the search finds on the validation split."""
    network: SlimmableTranslator = source.model.generator
    if not network.choices:
        raise ValueError(f"`start` must be a run with `fractions` to search its channels, got {str(config.start)!r}")
    x, y = pairs(data.valid)
    y = examples(config, source, x, y)
    # the other judges would take time for nothing
    segmenter = judges.segmenter if config.score.startswith("label_back") else None
    judges = Judges(segmenter, judges.trunk if config.score.startswith("frechet") else None)
    sign = -1.0 if config.score in HIGHER_IS_BETTER else 1.0

    def cost(channels: tuple[int, ...]) -> float:
        return convolutions(network, source.model, channels)

    def score(channels: tuple[int, ...]) -> float:
        limits = np.int32(channels)
        fake = in_chunks(lambda part: source.translate_within(part, limits), x, size=config.eval_batch)
        scores = paired_scores(x, fake, y, judges)
        if config.score not in scores:
            raise ValueError(f"`score` must be one of {sorted(scores)} without its judge, got {config.score!r}")
        return sign * scores[config.score]

    sizes = {"population": config.population, "generations": config.generations}
    found = search_channels(network.choices, cost, score, config.budget, config.seed, **sizes)
    best, worst = found[0], found[-1]
    print(f"searched {len(found)} candidates: {config.score} from {sign * worst.score:.4f} to {sign * best.score:.4f}")
    print(f"channels {' '.join(map(str, best.channels))}: {best.cost:,.0f} multiply-adds", flush=True)
    return dataclasses.replace(network, channels=best.channels, choices=())


def convolutions(network: SlimmableTranslator, model: Pix2Pix, channels: tuple[int, ...] | None = None) -> float:
    """Multiply-adds of the convolutions of one translation, with its last layer, in closed form."""
    last = (network.channels if channels is None else channels)[-1]
    head = model.head_size**2 * last * np.prod(model.b.event_shape)
    return float(network.multiply_adds(model.a.event_shape, channels) + head)


def budget_of(config: CompressionConfig) -> float:
    """`convolutions` of the generator that a config describes."""
    model = teacher(config, config.open())
    return convolutions(model.generator, model)


def multiply_adds_of(trained: TrainedModel) -> float:
    """Of one translation, by XLA's count."""
    model: Pix2Pix = trained.model
    x = jax.ShapeDtypeStruct((1, *model.a.event_shape), jnp.uint8 if model.a.bounded else jnp.float32)
    return multiply_adds(model.translate, trained.variables, x)


def plot(config: CompressionConfig, data: Splits, trained: TrainedModel) -> Any:
    """Test examples, the teacher's translations if there is a teacher, those of the generator, the truth of pairs."""
    head = data.test.head(COLUMNS)
    x = head["a"]["x"]
    rows = {"input": (x, "a")}
    if isinstance(trained.model, DistilledPix2Pix):
        rows["teacher"] = (trained.teach(x), "b")
    rows["translation"] = (trained.translate(x), "b")
    if not config.unpaired:
        rows["truth"] = (head["b"]["x"], "b")
    return side_by_side(rows, trained.model)


if __name__ == "__main__":
    main(CompressionConfig, build)
