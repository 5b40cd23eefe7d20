"""Where a run's time goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import jax

from jaxgen.training.folder import RunFolder


class Timer:
    """Seconds spent in named parts since the last line of figures."""

    def __init__(self):
        self._seconds: dict[str, float] = {}
        self._step, self._began = 0, time.monotonic()

    def start(self, step: int) -> None:
        """The run goes on from this step now."""
        self._step, self._began = step, time.monotonic()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts what is done within."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - began

    def take(self, step: int, batch_size: int, lines: int = 1) -> dict[str, float]:
        """`examples_per_second` over everything since the last call, `seconds/<part>`, and where the device says it,
        `device_memory_peak` in MiB; starts anew.

        Args:
            lines: how many share the seconds, those that one call has completed.
        """
        now = time.monotonic()
        figures = {"examples_per_second": batch_size * (step - self._step) / max(now - self._began, 1e-9)}
        figures |= {f"seconds/{name}": seconds / lines for name, seconds in self._seconds.items()}
        memory = jax.local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in memory:
            figures["device_memory_peak"] = memory["peak_bytes_in_use"] / 2**20
        self._seconds = {}
        self.start(step)
        return figures


class Trace:
    """A profile of some steps, in `profile` in the run's folder.

    Args:
        steps: how many, at least; 0 for none.
    """

    def __init__(self, folder: RunFolder | None, steps: int):
        self.folder, self.steps, self._until = folder, steps, None

    def begin(self, step: int) -> None:
        """Starts, the first time that it is asked to."""
        if self.steps and self._until is None:
            self._until = step + self.steps
            jax.profiler.start_trace(str(self.folder.path / "profile"))

    def end(self, step: int, last: bool) -> None:
        """Stops where enough steps are traced, or there are no more."""
        if self.steps and self._until is not None and (step >= self._until or last):
            jax.profiler.stop_trace()
            self.steps = 0
