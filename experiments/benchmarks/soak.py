"""A long run, monitored for growing memory, slowing down and recompilation: `python -m experiments.benchmarks.soak`.

A small flow of the plane with evaluations, lines of metrics and checkpoints on. The resident set and the time are noted
a hundred times during the run, when the batch of a step is requested; compilations are counted by JAX's events.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.monitoring

from experiments.commands import parse
from jaxgen import Settings, fit
from jaxgen.data import ArraySource, Splits, source
from jaxgen.models.flows.real_nvp import real_nvp_vector

NOTES = 100


@dataclass(frozen=True)
class Soak:
    steps: int = 600_000
    batch_size: int = 32
    width: int = 8
    layers: int = 2
    log_every: int = 1_000
    eval_every: int = 10_000
    checkpoint_every: int = 5_000
    out: Path = Path("runs/benchmarks/soak")
    """The folder for soak.json and the run, which is replaced."""


@dataclass(frozen=True)
class Soaked:
    """The measurements of a run.

    Attributes:
        megabytes: the resident set at each note.
        seconds: from the start to each note.
        compilations: number in the whole run.
        late_compilations: number after the first tenth.
    """

    steps: int
    megabytes: tuple[float, ...]
    seconds: tuple[float, ...]
    compilations: int
    late_compilations: int

    @property
    def growth(self) -> float:
        """Relative growth of the resident set from a tenth of the run to its end."""
        return self.megabytes[-1] / self.megabytes[len(self.megabytes) // 10] - 1

    def rate(self, tenth: int) -> float:
        """Steps per second in a tenth of the run, 0 to 9."""
        n = len(self.seconds) // 10
        begin, end = tenth * n, min((tenth + 1) * n, len(self.seconds) - 1)
        return self.steps * (end - begin) / len(self.seconds) / (self.seconds[end] - self.seconds[begin])


class Watched(ArraySource):
    """A source that notes the time and the resident set at every `every`-th batch."""

    every: int

    def watch(self, every: int) -> Watched:
        self.every, self.notes = every, {}
        return self

    def indices_at(self, step: int, size: int, seed: int):
        if step % self.every == 0 and step not in self.notes:
            self.notes[step] = time.monotonic(), resident_megabytes()
        return super().indices_at(step, size, seed)


def resident_megabytes() -> float:
    """Resident set of this process; Linux only."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(config: Soak) -> Soaked:
    """Trains; writes soak.json.

    Raises:
        ValueError: fewer steps than notes.
    """
    if config.steps < NOTES:
        raise ValueError(f"`steps` must be at least {NOTES}, got {config.steps}")
    compiled: list[float] = []

    def note(event: str, *_, **__) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(time.monotonic())

    data = source("two_moons")
    train = Watched(data.train.arrays).watch(config.steps // NOTES)
    settings = Settings(
        steps=config.steps, batch_size=config.batch_size, log_every=config.log_every, eval_every=config.eval_every,
        checkpoint_every=config.checkpoint_every,
    )  # fmt: skip
    shutil.rmtree(config.out / "run", ignore_errors=True)
    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        fit(real_nvp_vector(2, depth=config.layers, widths=(config.width,)), Splits(train, data.valid, None), settings,
            out=config.out / "run", progress=False)  # fmt: skip
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    times, megabytes = zip(*(train.notes[step] for step in sorted(train.notes)), strict=True)
    tenth = times[len(times) // 10]
    late = sum(tenth < t < times[-1] for t in compiled)
    soaked = Soaked(config.steps, megabytes, tuple(t - times[0] for t in times), len(compiled), late)
    (config.out / "soak.json").write_text(json.dumps(dataclasses.asdict(soaked), indent=1) + "\n", encoding="utf-8")
    return soaked


if __name__ == "__main__":
    soaked = main(parse(Soak, __doc__, "experiments.benchmarks.soak"))
    print(f"{soaked.steps} steps in {soaked.seconds[-1]:.0f} s")
    print("resident MiB at each tenth:", *(f"{m:.0f}" for m in soaked.megabytes[:: len(soaked.megabytes) // 10]))
    print("steps/s in each tenth:", *(f"{soaked.rate(i):.0f}" for i in range(10)))
    print(f"resident set at the end against that at a tenth: {soaked.growth:+.1%}")
    print(f"steps/s in the last tenth against the second: {soaked.rate(9) / soaked.rate(1) - 1:+.1%}")
    print(f"{soaked.compilations} compilations, {soaked.late_compilations} of them after the first tenth")
