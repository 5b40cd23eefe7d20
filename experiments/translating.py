"""Shared by experiments with two domains: config, data, and pictures side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from experiments.config import Config
from jaxgen import plotting
from jaxgen.data import Splits, domains
from jaxgen.models.translation import Domain
from jaxgen.models.translation.domain import other
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, Fraction, NonNegative

COLUMNS = 10
"""Images in a row of a plot."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranslationConfig(Config):
    """The fields of an experiment with two domains."""

    data: str = "colorization"
    """Two domains: `colorization`, two sources `one,two`, a .npz file, or a folder (`jaxgen.data.domains`)."""
    domains: tuple[str, str] = ("a", "b")
    """Names of the arrays or folders that become the domains a and b."""
    preset: Literal["paper", "small"] = "paper"
    """Defaults: the paper's, or those for images of 32 to 64 pixels."""
    paired: ClassVar[bool] = False
    """Whether examples of the two domains belong together."""

    def check(self) -> None:
        super().check()
        self.check_unconditional("a translation is conditioned on its input")
        if self.arrays:
            raise ValueError(f"`arrays` must be empty: `domains` names the arrays, got {self.arrays}")

    def open(self) -> Splits:
        return domains(self.data, self.domains, paired=self.paired, data_dir=self.data_dir)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairsConfig(TranslationConfig):
    """The fields of an experiment that trains a Pix2Pix on pairs, and their defaults in the paper."""

    paired: ClassVar[bool] = True

    steps: Count = 80_000
    """Batches, each with one update of both players."""
    batch_size: Count = 1
    ema: Fraction = 0.0
    eval_every: Count = 80_000
    """Steps between evaluations; as many as `steps`: the last variables are kept, rather than those of least L1."""
    eval_batch: Count = 64
    receptive_field: Literal[1, 16, 34, 70, 142, 286] = 70
    """Side of the patches that the critic scores, in pixels."""
    l1_weight: NonNegative = 100.0
    adversarial_weight: NonNegative = 1.0
    """0: no critic."""
    jitter: NonNegative = 286 / 256
    """Enlargement before random crops; 1: no crops."""
    mirror: bool = True
    """Mirror half of the pairs."""
    learning_rate: NonNegative = 2e-4
    """Adam's learning rate."""
    segmenter: Path | None = None
    """Run folder of `experiments.translation.segmenter` on the same data, for label-back scores."""
    trunk: Path | None = None
    """Arrays of a VGG, for a distance of features."""


def both(data: Splits) -> dict[str, Domain]:
    """The two domains of the data, by name."""
    shapes, levels = data.train.event_shape, data.train.levels
    return {name: Domain(shapes[name], levels[name]) for name in ("a", "b")}


def side_by_side(rows: Mapping[str, Any], model: Any, title: str = "") -> Any:
    """A figure of rows of images by name, each `(images, domain)` with `domain` `"a"` or `"b"`, in data units.

    Grey images are shown in colour beside coloured ones.
    """
    scaled = {name: np.asarray(getattr(model, domain).fraction(x), np.float32) for name, (x, domain) in rows.items()}
    channels = max(x.shape[-1] for x in scaled.values())
    wide = {name: np.broadcast_to(x, (*x.shape[:-1], channels)) for name, x in scaled.items()}
    return plotting.rows({name: np.clip(x, 0, 1) for name, x in wide.items()}, title)


def plot_translations(data: Splits, trained: TrainedModel, to: str = "b", paired: bool = False) -> Any:
    """Test examples, their translations and, where the model offers them, reconstructions; with the truth if paired."""
    origin = other(to)
    head = data.test.head(COLUMNS)
    x = head[origin]["x"]
    rows = {"input": (x, origin), "translation": (trained.translate(x, to=to), to)}
    if hasattr(trained, "reconstruct"):
        rows["reconstruction"] = (trained.reconstruct(x, origin), origin)
    if paired:
        rows["truth"] = (head[to]["x"], to)
    return side_by_side(rows, trained.model)
