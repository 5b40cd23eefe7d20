"""Times and profiles of a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import jax

from jaxgen.training.folder import RunFolder


class Timer:
    """Seconds spent in named parts of a run since the last line of metrics."""

    def __init__(self):
        self._seconds: dict[str, float] = {}
        self._step, self._began = 0, time.monotonic()

    def start(self, step: int) -> None:
        """Starts the clock at this step."""
        self._step, self._began = step, time.monotonic()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Context manager that adds its duration to a part."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - began

    def take(self, step: int, batch_size: int, lines: int = 1) -> dict[str, float]:
        """`examples_per_second` since the last call, `seconds/<part>`, and `device_memory_peak` in MiB if the device
        reports it; starts anew.

        Args:
            lines: lines of metrics that the seconds are divided among.
        """
        now = time.monotonic()
        metrics = {"examples_per_second": batch_size * (step - self._step) / max(now - self._began, 1e-9)}
        metrics |= {f"seconds/{name}": seconds / lines for name, seconds in self._seconds.items()}
        memory = jax.local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in memory:
            metrics["device_memory_peak"] = memory["peak_bytes_in_use"] / 2**20
        self._seconds = {}
        self.start(step)
        return metrics


class Trace:
    """A profile of some steps, in the folder `profile` of the run's.

    Args:
        steps: at least as many are traced; 0: none.
    """

    def __init__(self, folder: RunFolder | None, steps: int):
        self.folder, self.steps, self._until = folder, steps, None

    def begin(self, step: int) -> None:
        """Starts at the first call."""
        if self.steps and self._until is None:
            self._until = step + self.steps
            jax.profiler.start_trace(str(self.folder.path / "profile"))

    def end(self, step: int, last: bool) -> None:
        """Stops if enough steps are traced, or at the last one."""
        if self.steps and self._until is not None and (step >= self._until or last):
            jax.profiler.stop_trace()
            self.steps = 0
