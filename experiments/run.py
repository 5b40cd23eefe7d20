"""Runs an experiment: command line, data, training, `result.json`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax

from experiments.commands import parse
from experiments.config import Config, Experiment, Published
from experiments.report import environment, evaluate_on_test, print_result, save_plots
from jaxgen.data import Splits, checks
from jaxgen.heap import free_memory_early, keep_freed_memory
from jaxgen.metrics.statistics import mean_and_error
from jaxgen.training import Interrupted, NonFiniteLoss, RunFolder, TrainedModel, fit, fit_seeds, seed_folder

HEARTBEAT_SECONDS = 30
"""Seconds without a heartbeat after which the other processes stop waiting for one."""

C = TypeVar("C", bound=Config)
Build = Callable[[C, Splits], Experiment]


def main(config_class: type[C], build: Build, published: Mapping[str, Published] | None = None) -> None:
    """Runs an experiment from the command line.

    Exit status: 2 if an argument, the data or a folder is invalid, 1 if a loss is not finite.

    Args:
        published: the paper's results, by the name of the data.
    """
    keep_freed_memory()
    free_memory_early()
    cache_compiled_programs()
    module = sys.modules[build.__module__]
    name = module.__spec__.name if module.__spec__ else Path(module.__file__).stem
    config = parse(config_class, module.__doc__, name)
    with exit_status():
        run(name, config, build, published)


def cache_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache folder, so that a second start does not compile them again.

    `JAX_COMPILATION_CACHE_DIR` chooses another folder, `JAX_ENABLE_COMPILATION_CACHE=false` turns the cache off.
    """
    if jax.config.jax_compilation_cache_dir is None:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgen"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


@contextlib.contextmanager
def exit_status() -> Iterator[None]:
    """Turns errors that a user can fix into one line on stderr and an exit status."""
    try:
        yield
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and not _is_message(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except NonFiniteLoss as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        sys.exit(128 + stop.signum)


def _is_message(error: BaseException) -> bool:
    """Whether this package's own code raised the error, so that its message suffices without a traceback."""
    frame = error.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    return frame.tb_frame.f_globals.get("__name__", "").split(".")[0] in ("jaxgen", "experiments", "__main__")


def run(
    name: str, config: C, build: Build, published: Mapping[str, Published] | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Trains, evaluates on the test split, writes plots and `result.json`, prints their paths.

    Args:
        name: the experiment's module.
        quiet: print nothing.

    Returns:
        The contents of `result.json`; with several seeds, each has its own in its folder, and this one has their means
        and `standard_errors`.
    """
    began = time.monotonic()
    config.check()
    if config.distributed or config.coordinator is not None:
        jax.distributed.initialize(
            config.coordinator, config.processes, config.process_id, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
        )
    circumstances = environment()
    splits = config.open()
    short, data = name.removeprefix("experiments."), Path(config.data)
    out = config.out or Path("runs") / short / f"{data.stem}-{config.seed}"
    config = dataclasses.replace(config, out=checks.location("out", out))
    experiment = build(config, splits)
    first = config.out if config.seeds == 1 else seed_folder(config.out, config.seed)
    if config.resume:
        began -= RunFolder(first).seconds()
    runs = _train(config, experiment, splits, build, progress=not quiet)
    training_seconds = time.monotonic() - began

    paper = (published or {}).get(data.name)
    headline = experiment.headline or (paper.metric if paper else experiment.model.monitor[0],)
    results, plots = [], []
    for config_of_seed, experiment, trained in runs:
        folder, test_split = RunFolder(config_of_seed.out), (experiment.data or splits).test
        test = evaluate_on_test(config_of_seed, experiment, trained, test_split)
        plots += save_plots(config_of_seed, experiment, trained, test_split, folder)
        results.append({
            "experiment": name,
            "data": config.data,
            "test": test,
            "headline": headline,
            "baselines": dict(experiment.baselines),
            "published": None if paper is None else paper._asdict(),
            "config": dataclasses.asdict(config_of_seed),
            "changed": config_of_seed.changed(),
            "parameters": {
                player: sum(leaf.size for leaf in jax.tree.leaves(collections.get("params", {})))
                for player, collections in trained.variables.items()
            },
            "training_seconds": round(training_seconds, 1),
            "wall_seconds": round(time.monotonic() - began, 1),
            **circumstances,
        })  # fmt: skip
        if jax.process_index() == 0:
            folder.result(results[-1])
    result = results[0]
    if config.seeds > 1:
        means, errors = mean_and_error([result["test"] for result in results])
        whole = {"config": dataclasses.asdict(config), "changed": config.changed()}
        result = {**result, **whole, "test": means, "standard_errors": errors}
        if jax.process_index() == 0:
            RunFolder(config.out).result(result)
    if jax.process_index() == 0 and not quiet:
        print_result(result, plots, config.out)
    return result


def _train(
    config: C, experiment: Experiment, splits: Splits, build: Build, progress: bool
) -> list[tuple[C, Experiment, TrainedModel]]:
    """The trained model of each seed, with the seed's own config and experiment."""
    train = functools.partial(
        fit if config.seeds == 1 else fit_seeds, experiment.model, experiment.data or splits, config,
        plays=experiment.plays, phases=experiment.phases, optimizers=experiment.optimizers, start=experiment.start,
        metrics=experiment.validation_metrics, host_metrics=experiment.host_metrics, out=config.out,
        resume=config.resume, overwrite=config.overwrite, progress=progress,
    )  # fmt: skip
    if config.seeds == 1:
        return [(config, experiment, train())]
    seeds = range(config.seed, config.seed + config.seeds)
    configs = [dataclasses.replace(config, seed=seed, seeds=1, out=seed_folder(config.out, seed)) for seed in seeds]
    return [(one, build(one, splits), trained) for one, trained in zip(configs, train(seeds=seeds), strict=True)]
