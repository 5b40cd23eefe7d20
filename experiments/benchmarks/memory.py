"""Memory and time of a Glow by depth and by what its backward pass stores: `python -m experiments.benchmarks.memory`.

The gradient of the likelihood, for each depth and each way that `Repeat` offers: temporaries (the memory of the
compiled program beside parameters, batch and gradients), seconds to compile, milliseconds per step. All ways and depths
alternate, after warm-up; the median of the rounds, and their range.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import jax
import numpy as np

from experiments.commands import parse
from jaxgen.bijectors.compose import Gradient
from jaxgen.models.flows.glow import glow
from jaxgen.plotting import save


@dataclass(frozen=True)
class Memory:
    depths: tuple[int, ...] = (4, 16, 64)
    """Steps in each scale."""
    scales: int = 3
    width: int = 64
    """Channels of each coupling's hidden layers."""
    event_shape: tuple[int, int, int] = (32, 32, 3)
    batch_size: int = 16
    rounds: int = 15
    out: Path = Path("runs/benchmarks/memory")
    """The folder for memory.json and memory.png."""


@dataclass(frozen=True)
class Measured:
    """One way at one depth.

    Attributes:
        megabytes: size of the temporaries.
        compile_seconds: tracing included.
        step_milliseconds: in each round.
        processor_milliseconds: in each round, of all threads.
    """

    gradient: str
    depth: int
    megabytes: float
    compile_seconds: float
    step_milliseconds: tuple[float, ...]
    processor_milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.step_milliseconds))


def main(config: Memory) -> list[Measured]:
    """Measures every way at every depth; writes memory.json and memory.png."""
    rng = np.random.default_rng(0)
    batch = {"x": rng.integers(0, 256, (config.batch_size, *config.event_shape), np.uint8)}
    key = jax.random.key(0)
    compiled = {}
    for depth in config.depths:
        models = {
            way: glow(config.event_shape, num_scales=config.scales, depth=depth, width=config.width, gradient=way)
            for way in get_args(Gradient)
        }
        variables = models["store"].init(key, batch)["flow"]
        params, rest = variables.pop("params"), variables
        for way, model in models.items():

            def loss(params, rest, batch, model=model):
                return model.loss({"flow": {"params": params, **rest}}, batch, key, 0).value

            began = time.perf_counter()
            step = jax.jit(jax.grad(loss)).lower(params, rest, batch).compile()
            seconds = time.perf_counter() - began
            compiled[way, depth] = step, (params, rest, batch), step.memory_analysis().temp_size_in_bytes / 1e6, seconds
            jax.block_until_ready(step(params, rest, batch))

    rounds, processors = ({name: [] for name in compiled} for _ in range(2))
    for _ in range(config.rounds):
        for name, (step, inputs, *_) in compiled.items():
            began, processor = time.perf_counter(), time.process_time()
            jax.block_until_ready(step(*inputs))
            rounds[name].append(1e3 * (time.perf_counter() - began))
            processors[name].append(1e3 * (time.process_time() - processor))
    measured = [
        Measured(way, depth, megabytes, seconds, tuple(rounds[way, depth]), tuple(processors[way, depth]))
        for (way, depth), (_, _, megabytes, seconds) in compiled.items()
    ]
    config.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps([dataclasses.asdict(m) for m in measured], indent=1) + "\n"
    (config.out / "memory.json").write_text(text, encoding="utf-8")
    save(plot(measured), config.out / "memory.png")
    return measured


def plot(measured: list[Measured]):
    """A figure of memory and time over depth, a line for each way."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for way in get_args(Gradient):
        results = [m for m in measured if m.gradient == way]
        depths = [m.depth for m in results]
        panels[0].plot(depths, [m.megabytes for m in results], marker="o", label=way)
        panels[1].plot(depths, [m.median for m in results], marker="o", label=way)
    for panel, name in zip(panels, ("temporaries (MB)", "a step (ms)"), strict=True):
        panel.set(title=name, xlabel="steps in each scale", ylim=(0, None))
    panels[0].legend()
    return figure


if __name__ == "__main__":
    from rich.console import Console
    from rich.table import Table

    settings = parse(Memory, __doc__, "experiments.benchmarks.memory")
    table = Table("gradient", "depth", "MB", "compile s", "step ms", "from", "to", "/ store", "processor ms")
    results = main(settings)
    stored = {m.depth: m.median for m in results if m.gradient == "store"}
    for m in results:
        times = m.step_milliseconds
        table.add_row(
            m.gradient, str(m.depth), f"{m.megabytes:.1f}", f"{m.compile_seconds:.1f}", f"{m.median:.0f}",
            f"{min(times):.0f}", f"{max(times):.0f}", f"{m.median / stored[m.depth]:.2f}",
            f"{np.median(m.processor_milliseconds):.0f}",
        )
    Console().print(table)
    print(f"written to {settings.out}")
