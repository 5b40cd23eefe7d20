"""The parts of an experiment: its config (the command line) and the `Experiment` that its `build` returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import optax

from jaxgen.contracts import Model, Phase, Play, Variables
from jaxgen.data import Splits, source
from jaxgen.training import Settings, TrainedModel
from jaxgen.training.evaluation import HostMetrics, ValidationMetrics
from jaxgen.training.ranges import Count, Natural


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """The fields of every experiment; annotations give the ranges of numbers (`jaxgen.training.ranges`).

    A config with a field `preset` names in `PRESETS` the fields that each preset sets in place of the defaults.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    data: str = "digits"
    """A dataset: `digits`, `two_moons`, ..., a .npz, .npy or .txt file, a folder of images, or `tfds:<name>`."""
    data_dir: str | None = None
    """Folder of prepared TensorFlow Datasets; relative paths of data start here."""
    arrays: dict[str, str] = dataclasses.field(default_factory=dict)
    """Further arrays of a .npz file by their name in a batch: `label subject` makes `subject_train` the labels."""
    conditional: bool = False
    """Condition the model on the labels."""
    seeds: Count = 1
    """Number of runs, with seeds `seed`, `seed` + 1, ..., trained side by side; their means are reported."""
    out: Path | None = None
    """The run's folder; by default runs/<experiment>/<data>-<seed>. With several seeds, each has a folder in it."""
    resume: bool = False
    """Continue the run in `out`, if there is one."""
    overwrite: bool = False
    """Replace the run in `out`."""
    distributed: bool = False
    """One of several processes that JAX connects by itself: TPU pods, SLURM, Open MPI, Kubernetes."""
    coordinator: str | None = None
    """Without such a platform: host:port at which the first process listens for the others."""
    process_id: Natural | None = None
    """Index of this process, from 0."""
    processes: Count | None = None
    """Number of processes."""

    def check_unconditional(self, reason: str) -> None:
        """Raises:
        ValueError: `conditional`.
        """
        if self.conditional:
            raise ValueError(f"`conditional` must be False: {reason}")

    def check_without_context(self, reason: str) -> None:
        """Raises:
        ValueError: `conditional` or `arrays` are given.
        """
        self.check_unconditional(reason)
        if self.arrays:
            raise ValueError(f"`arrays` must be empty: {reason}")

    def check(self) -> None:
        """Raises:
        ValueError: a number outside its range; a coordinator without the index of this process or their number.
        """
        super().check()
        values = {name: getattr(self, name) for name in ("coordinator", "process_id", "processes")}
        if len({value is None for value in values.values()}) > 1:
            got = ", ".join(f"{name}={value}" for name, value in values.items())
            raise ValueError(f"`coordinator`, `process_id` and `processes` must be given all three, got {got}")
        if self.coordinator is not None and self.process_id >= self.processes:
            raise ValueError(f"`process_id` must be below processes={self.processes}, got {self.process_id}")

    def open(self) -> Splits:
        """The configured data."""
        splits = source(self.data, self.data_dir, self.arrays)
        return Splits(*(split.conditional() for split in splits)) if self.conditional else splits

    def changed(self) -> dict[str, Any]:
        """The fields that affect the results and differ from their defaults or their preset, except the data."""
        preset = self.PRESETS.get(getattr(self, "preset", None), {})
        changed = {}
        for field in dataclasses.fields(self):
            factory = field.default_factory
            default = field.default if factory is dataclasses.MISSING else factory()
            value = getattr(self, field.name)
            if field.name not in _WITHOUT_EFFECT and value != preset.get(field.name, default):
                changed[field.name] = value
        return changed


_WITHOUT_EFFECT = {
    "data", "data_dir", "out", "resume", "overwrite", "distributed", "coordinator", "process_id", "processes",
    "devices", "workers", "log_every", "checkpoint_every", "keep", "steps_per_call", "profile", "tensorboard",
}  # fmt: skip


class Published(NamedTuple):
    """A result of a paper.

    Attributes:
        metric: name of the metric to compare with.
        value: the value in the paper.
        source: paper and table.
        budget: training steps in the paper, in the units of `Settings.steps`, if known.
    """

    metric: str
    value: float
    source: str
    budget: int | None = None


class Experiment(NamedTuple):
    """The return value of an experiment's `build`.

    Attributes:
        model: the model.
        plays: a game that replaces the model's own.
        phases: several games one after another, which replace the model's own.
        optimizers: by play, in place of the plays' own.
        metrics: compiled, on the test split, beside those of `Model.evaluate`.
        validation_metrics: compiled, on the validation split at each evaluation; `monitor` may name one.
        host_metrics: like `validation_metrics`, computed on the host from the model trained so far.
        final_metrics: of the trained model, on the host, once: metrics that are not means over examples.
        plots: plots of the trained model, by file name.
        baselines: metrics of simple methods on the same test split, by name.
        headline: the metrics that RESULTS.md shows first; by default the published metric, or the monitored one.
        draws: samples of the model's own noise that test metrics are averaged over; None for TEST_DRAWS.
        data: splits that replace the configured data.
        start: variables by player that replace the initial ones: pretrained networks.
    """

    model: Model
    plays: Mapping[str, Play] | None = None
    phases: tuple[Phase, ...] | None = None
    optimizers: Mapping[str, optax.GradientTransformation] = {}
    metrics: ValidationMetrics | None = None
    validation_metrics: ValidationMetrics | None = None
    host_metrics: HostMetrics | None = None
    final_metrics: Callable[[TrainedModel], Mapping[str, float]] | None = None
    plots: Mapping[str, Callable[[TrainedModel], Any]] = {}
    baselines: Mapping[str, float] = {}
    headline: tuple[str, ...] = ()
    draws: int | None = None
    data: Splits | None = None
    start: Variables | None = None
