"""How long a Glow's steps wait for data on disk, by format: `python -m experiments.benchmarks.streaming`.

A folder of images and array_record hold the same random images, in a temporary folder. Each is first read alone, at
full speed, then a Glow trains on it, for each number of workers in turn, after warm-up: the median of the rounds, and
their range. With workers a batch is read while a step computes, which on a CPU uses the same processors.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from experiments.commands import parse
from jaxgen.data import Source, pack, records, source
from jaxgen.data.streaming import Stream
from jaxgen.models.flows.glow import glow
from jaxgen.training import init_state, make_train_step


@dataclass(frozen=True)
class Streaming:
    images: int = 5000
    size: int = 32
    """Pixels of a side, in three colours."""
    batch_size: int = 64
    scales: int = 3
    depth: int = 4
    """Steps in each scale."""
    width: int = 64
    """Channels of each coupling's hidden layers."""
    workers: tuple[int, ...] = (0, 1, 8)
    steps: int = 16
    """Steps of a round: more than workers, as batches read ahead at its start would do otherwise."""
    rounds: int = 5


def main(config: Streaming) -> dict[tuple[str, int], dict[str, list[float]]]:
    """The values of each round, by source and workers.

    Reading alone: `images_per_second` and `images_per_processor_second`. A training step in milliseconds: `wait` for
    data, `step` in all, and `step_processor`, the processor time of all threads.
    """
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(records, "RESIDENT_BYTES", 0):
        sources = write(Path(folder), config)
        train = _training(config, sources["folder"])
        measured = {}
        for _ in range(config.rounds + 1):  # the first warms up
            for name, data in sources.items():
                for workers in config.workers:
                    stream = Stream(data, config.batch_size, 0, workers=workers)
                    for what, value in (_read(stream, config) | train(stream)).items():
                        measured.setdefault((name, workers), {}).setdefault(what, []).append(value)
                    stream.close()
    return {key: {what: values[1:] for what, values in rounds.items()} for key, rounds in measured.items()}


def write(folder: Path, config: Streaming) -> dict[str, Source]:
    """The training split of one data set, as files and packed."""
    from PIL import Image

    rng = np.random.default_rng(0)
    images = folder / "images"
    images.mkdir()
    for i in range(config.images):
        # blobs, which compress as photographs do
        x = rng.integers(0, 256, (config.size // 4, config.size // 4, 3), np.uint8)
        Image.fromarray(x).resize((config.size, config.size), Image.Resampling.BICUBIC).save(images / f"{i:06d}.png")
    name = pack.pack(images, folder / "sets")
    return {"folder": source(images).train, "array_record": source(f"tfds:{name}", folder / "sets").train}


def _read(stream: Stream, config: Streaming) -> dict[str, float]:
    batches = config.steps + 4 * stream.workers  # so that few batches are read ahead in vain
    began, processor = time.perf_counter(), time.process_time()
    for step in range(batches):
        stream(step)
    seconds = time.perf_counter() - began, time.process_time() - processor
    names = "images_per_second", "images_per_processor_second"
    return {name: batches * config.batch_size / taken for name, taken in zip(names, seconds, strict=True)}


def _training(config: Streaming, data: Source) -> Callable[[Stream], dict[str, float]]:
    event_shape = (config.size, config.size, 3)
    model = glow(event_shape, num_scales=config.scales, depth=config.depth, width=config.width)
    plays = model.plays()
    step = jax.jit(make_train_step(plays), donate_argnums=0)
    state: Any = jax.jit(lambda: init_state(model, plays, jax.random.key(0), data.head(64)))()

    def train(stream: Stream) -> dict[str, float]:
        nonlocal state
        waited = 0.0
        for i in range(config.steps + 1):
            if i == 1:  # the first starts the threads
                jax.block_until_ready(state)
                began, processor, waited = time.perf_counter(), time.process_time(), 0.0
            asked = time.perf_counter()
            batch = stream(i)
            waited += time.perf_counter() - asked
            state, metrics = step(state, batch)
            jax.block_until_ready(metrics)
        taken = time.perf_counter() - began
        processor = time.process_time() - processor
        seconds = {"wait": waited, "step": taken, "step_processor": processor}
        return {name: 1e3 * value / config.steps for name, value in seconds.items()}

    return train


if __name__ == "__main__":
    from rich.console import Console
    from rich.table import Table

    table = Table("source", "workers", "images/s alone", "wait ms", "step ms", "processor ms", "waiting", "range")
    for (name, workers), rounds in main(
        parse(Streaming, __doc__, "experiments.benchmarks.streaming")
    ).items():
        waiting = np.divide(rounds["wait"], rounds["step"])
        table.add_row(
            name, str(workers), f"{np.median(rounds['images_per_second']):.0f}", f"{np.median(rounds['wait']):.2f}",
            f"{np.median(rounds['step']):.0f}", f"{np.median(rounds['step_processor']):.0f}",
            f"{np.median(waiting):.1%}", f"{waiting.min():.1%}-{waiting.max():.1%}",
        )
    Console().print(table)
