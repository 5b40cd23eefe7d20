"""What every experiment shares: the command line, opening data, training, figures on the test split, the report."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from experiments.spread import mean_and_error
from jaxgen import plotting
from jaxgen.contracts import Model, Play
from jaxgen.data import Splits, source
from jaxgen.heap import keep_freed_memory
from jaxgen.training import Bound, Interrupted, NonFiniteLoss, Phase, Settings, evaluate, fit, fit_seeds, seed_folder
from jaxgen.training.evaluation import Figures
from jaxgen.training.folder import RunFolder

TEST_DRAWS = 16
"""Draws of a model's own noise (dequantization, posterior) that test figures are averaged over."""
HEARTBEAT_SECONDS = 30
"""Without a sign of life from one of several processes the others end, instead of waiting for it for ever."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """The fields that every experiment has."""

    data: str = "digits"
    """A data set: `digits`, `patches`, `two_moons`, ..., a .npz, .npy or .txt file, a folder of images, or `tfds:<name>`."""
    data_dir: str | None = None
    """Where TensorFlow Datasets are prepared; relative paths of data start here."""
    conditional: bool = False
    """Condition the model on the labels."""
    seeds: int = 1
    """Runs side by side in one compiled program, of seeds `seed`, `seed` + 1, ...; reported are means."""
    out: Path | None = None
    """The run's folder; by default runs/<experiment>/<data>-<seed>. Of several seeds, each has one in it."""
    resume: bool = False
    """Go on with the run in `out`, where there is one."""
    overwrite: bool = False
    """Replace the run in `out`."""
    distributed: bool = False
    """One of several processes, which JAX tells to find one another: TPU pods, SLURM, Open MPI, Kubernetes."""
    coordinator: str | None = None
    """Elsewhere: host:port of the first of several processes, on which it listens for the others."""
    process_id: int | None = None
    """Which of them this is, from 0."""
    processes: int | None = None
    """How many they are."""

    def check(self) -> None:
        """Raises:
        ValueError: as `Settings.check`; another number that is out of its range; a coordinator without the number of
            this process or of all.
        """
        super().check()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, (int, float)) and not isinstance(number, bool):
                    _check_number(field.name, float(number) if isinstance(field.default, float) else number)
        given = {name: getattr(self, name) for name in ("coordinator", "process_id", "processes")}
        if len({value is None for value in given.values()}) > 1:
            said = ", ".join(f"{name}={value}" for name, value in given.items())
            raise ValueError(f"{said}: several processes need all three")
        if self.coordinator is not None and not 0 <= self.process_id < self.processes:
            raise ValueError(f"process_id={self.process_id} is not one of processes={self.processes}, counted from 0")


# What is a count may be none of these, or a setting off; what is real may be of either sign; shares of one.
_ZERO = {
    "seed", "profile", "workers", "process_id", "warmup", "heads", "blocks", "hidden_layers", "prior_steps",
    "prior_blocks", "groups", "numbers", "held_out", "labels", "edits",
}  # fmt: skip
_SIGNED = {"a", "b", "c"}
_SHARES = {"b1", "decay", "dropout", "prior_dropout"}
_WHOLE_SHARES = {"word_dropout"}
_MOST = 2**31 - 1


def _check_number(name: str, value: int | float) -> None:
    if isinstance(value, int):
        least = 0 if name in _ZERO else 1
        fits, needed = least <= value <= _MOST, f"at least {least} and at most {_MOST}"
    elif name in _SHARES:
        fits, needed = 0 <= value < 1, "at least 0 and below 1"
    elif name in _WHOLE_SHARES:
        fits, needed = 0 <= value <= 1, "at least 0 and at most 1"
    else:
        fits = math.isfinite(value) and (value >= 0 or name in _SIGNED)
        needed = "finite" if name in _SIGNED else "finite and at least 0"
    if not fits:
        raise ValueError(f"{name}={value} was given; it has to be {needed}")


class Published(NamedTuple):
    """A figure of a paper: what it is, on which data, and where it stands."""

    figure: str
    value: float
    source: str


class Experiment(NamedTuple):
    """What an experiment's `build` returns.

    Attributes:
        model: the model.
        plays: a game other than the model's own.
        phases: several games one after another.
        baselines: figures of simple methods on the same test split, by name.
        figures: of the test split, beside those of `Model.evaluate`.
        scheduled: of the validation split, beside those of `Model.evaluate`, whenever that is evaluated: the model may
            monitor one of them.
        report: of the trained model, more figures on the test split, which are no means over rows.
        pictures: figures that only this experiment draws, by file name: functions of the trained model.
        draws: of the model's own noise that test figures are averaged over; None for TEST_DRAWS.
        data: in place of the splits that were opened: what this experiment makes of their rows, or some of them.
    """

    model: Model
    plays: Mapping[str, Play] | None = None
    phases: tuple[Phase, ...] | None = None
    baselines: Mapping[str, float] = {}
    figures: Figures | None = None
    scheduled: Figures | None = None
    report: Callable[[Bound], Mapping[str, float]] | None = None
    pictures: Mapping[str, Callable[[Bound], Any]] = {}
    draws: int | None = None
    data: Splits | None = None


C = TypeVar("C", bound=Config)


def main(
    config_class: type[C], build: Callable[[C, Splits], Experiment], published: Mapping[str, Published] | None = None
) -> None:
    """Runs an experiment from the command line; exits with status 2 where something given does not fit, as a
    folder that cannot be written, also where its disk is full in the middle of a run.

    Args:
        published: the paper's figures, by the name of the data they are on.
    """
    import tyro

    keep_freed_memory()
    module = sys.modules[build.__module__]
    name = module.__spec__.name if module.__spec__ else Path(module.__file__).stem
    config = tyro.cli(config_class, prog=f"python -m {name}", description=module.__doc__)
    try:
        run(name, config, build, published)
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and not _spoken(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except NonFiniteLoss as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        sys.exit(128 + stop.signum)


def _spoken(error: BaseException) -> bool:
    """Whether an error is one of this package's sentences, raised by its own code, rather than a bug's traceback."""
    frame = error.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    return frame.tb_frame.f_globals.get("__name__", "").split(".")[0] in ("jaxgen", "experiments", "__main__")


def run(
    name: str,
    config: C,
    build: Callable[[C, Splits], Experiment],
    published: Mapping[str, Published] | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains, evaluates on the test split, writes pictures and `result.json`, prints where they are.

    Args:
        name: of the experiment's module.
        quiet: print nothing.

    Returns:
        What `result.json` holds. Of several seeds, each has one in its folder, and this is of all: means, and
        `standard_errors`.
    """
    began = time.monotonic()
    config.check()
    if config.distributed or config.coordinator is not None:
        jax.distributed.initialize(
            config.coordinator, config.processes, config.process_id, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
        )
    circumstances = _circumstances()
    splits = source(config.data, data_dir=config.data_dir)
    if config.conditional:
        splits = Splits(*(split.conditional() for split in splits))
    short = name.removeprefix("experiments.")
    config = dataclasses.replace(config, out=config.out or Path("runs") / short / f"{Path(config.data).stem}-{config.seed}")
    experiment = build(config, splits)
    runs = _trained(config, experiment, splits, build, progress=not quiet)
    trained = time.monotonic() - began

    known = (published or {}).get(Path(config.data).name)
    results, pictures = [], []
    for mine, experiment, bound in runs:
        folder = RunFolder(mine.out)
        test, drawn = _finished(mine, experiment, splits, bound, folder)
        results.append({
            "experiment": name,
            "data": config.data,
            "test": test,
            "baselines": dict(experiment.baselines),
            "published": None if known is None else known._asdict(),
            "config": dataclasses.asdict(mine),
            "parameters": {
                player: sum(leaf.size for leaf in jax.tree.leaves(collections.get("params", {})))
                for player, collections in bound.variables.items()
            },
            "training_seconds": round(trained, 1),
            "wall_seconds": round(time.monotonic() - began, 1),
            **circumstances,
        })  # fmt: skip
        pictures += drawn
        if jax.process_index() == 0:
            folder.result(results[-1])
    result = results[0]
    if config.seeds > 1:
        means, errors = mean_and_error([result["test"] for result in results])
        result = {**result, "config": dataclasses.asdict(config), "test": means, "standard_errors": errors}
        if jax.process_index() == 0:
            RunFolder(config.out).result(result)
    if jax.process_index() == 0 and not quiet:
        _print(result, pictures, config.out)
    return result


def _trained(
    config: C, experiment: Experiment, splits: Splits, build: Callable[[C, Splits], Experiment], progress: bool
) -> list[tuple[C, Experiment, Bound]]:
    """The run, or that of each seed with a config and an experiment of its own, for its report and its pictures."""
    data = splits if experiment.data is None else experiment.data
    train = functools.partial(
        fit if config.seeds == 1 else fit_seeds, experiment.model, data, config, plays=experiment.plays,
        phases=experiment.phases, figures=experiment.scheduled, out=config.out, resume=config.resume,
        overwrite=config.overwrite, progress=progress,
    )  # fmt: skip
    if config.seeds == 1:
        return [(config, experiment, train())]
    seeds = range(config.seed, config.seed + config.seeds)
    each = [dataclasses.replace(config, seed=seed, out=seed_folder(config.out, seed)) for seed in seeds]
    return [(mine, build(mine, splits), bound) for mine, bound in zip(each, train(seeds=seeds), strict=True)]


def _finished(
    config: Config, experiment: Experiment, splits: Splits, bound: Bound, folder: RunFolder
) -> tuple[dict[str, float], list[Path]]:
    """A trained model's figures on the test split, and the pictures that it left."""
    data = (splits if experiment.data is None else experiment.data).test
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    size, draws = config.eval_batch, experiment.draws or TEST_DRAWS
    test = evaluate(experiment.model, bound.variables, data, key, batch_size=size, draws=draws)
    if experiment.figures is not None:
        test |= evaluate(experiment.model, bound.variables, data, key, batch_size=size, figures=experiment.figures)
    if experiment.report is not None:
        test |= experiment.report(bound)
    pictures = _pictures(bound, data, key, folder)
    for picture, draw in experiment.pictures.items():
        pictures.append(plotting.save(draw(bound), folder.path / f"{picture}.png"))
    return test, pictures


def _pictures(bound: Bound, test: Any, key: jax.Array, folder: RunFolder) -> list[Path]:
    written = [plotting.save(plotting.curves(folder.lines()), folder.path / "curves.png")]
    real = test.head(plotting.ROWS)
    if plotting.drawable(real["x"]) and hasattr(bound, "sample"):
        samples = np.asarray(bound.sample(key, len(real["x"]), real.get("context")))
        written.insert(0, plotting.save(plotting.samples(samples, real["x"]), folder.path / "samples.png"))
        if hasattr(bound, "reconstruct"):
            again = np.asarray(bound.reconstruct(real["x"], key, real.get("context")))
            figure = plotting.samples(again, real["x"], "reconstructions")
            written.insert(1, plotting.save(figure, folder.path / "reconstructions.png"))
    return written


def _circumstances() -> dict[str, Any]:
    """Where a run ran: enough to run it again."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, check=True, cwd=Path(__file__).parent,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    device, spec = jax.devices()[0], sys.modules["__main__"].__spec__
    return {
        "command": " ".join(["python", "-m", spec.name, *sys.argv[1:]]) if spec is not None else None,
        "commit": commit,
        "devices": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }


def _print(result: Mapping[str, Any], pictures: list[Path], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    table = Table("figure", "value", title=f"{result['experiment']} on {result['data']}, test split")
    for name, value in result["test"].items():
        error = result.get("standard_errors", {}).get(name)
        table.add_row(name, f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}")
    for name, value in result["baselines"].items():
        table.add_row(f"baseline: {name}", f"{value:.4f}")
    if (paper := result["published"]) is not None:
        table.add_row(f"published {paper['figure']} ({paper['source']})", f"{paper['value']}")
    console.print(table)
    for picture in pictures:
        console.print(f"{picture.stem}: {picture}")
    console.print(f"{result['wall_seconds']} s in all; the run's folder: {folder}")
