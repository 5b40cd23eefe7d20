"""What a run says while it goes: a progress bar, lines of figures, TensorBoard events."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import jax

from jaxgen.training.folder import RunFolder
from jaxgen.writing import printable


class Sums:
    """Averages of step metrics since the last line; a play that did not move does not count.

    `totals` holds, by `"play/metric"`, a sum and a count, and goes through JSON unchanged, so that a line that a
    killed run had begun is finished by the run that takes over.
    """

    def __init__(self, totals: Mapping[str, Any] | None = None):
        self.totals = {name: list(pair) for name, pair in (totals or {}).items()}

    def add(self, metrics: Mapping[str, Mapping[str, Any]]) -> None:
        """Adds metrics with a leading axis of steps."""
        for play, values in metrics.items():
            played = values["played"] > 0
            for name, value in values.items():
                if name not in ("played", "skipped") and played.any():
                    # one by one: the sum does not depend on how steps were cut into calls
                    pair = self.totals.setdefault(f"{play}/{name}", [0.0, 0])
                    for v in value[played].tolist():
                        pair[0] += v
                    pair[1] += int(played.sum())

    def take(self) -> dict[str, float]:
        """The means so far; starts anew."""
        means = {name: total / count for name, (total, count) in self.totals.items()}
        self.totals = {}
        return means


class Reporter:
    """Shows progress and writes a run's metrics, in the first process only. Use as a context manager.

    Args:
        folder: where `metrics.jsonl` is; None writes nothing.
        progress: show a bar on a terminal, or a line now and then elsewhere.
        tensorboard: write events into the folder too.

    Raises:
        ValueError: `tensorboard` without its package.
    """

    def __init__(self, folder: RunFolder | None, steps: int, *, progress: bool = True, tensorboard: bool = False):
        first = jax.process_index() == 0
        self.folder, self.steps, self.progress = folder if first else None, steps, progress and first
        self._marks: deque[tuple[int, float]] = deque(maxlen=50)
        self._shown = 0.0
        self._bar = self._events = self._writer = None
        if tensorboard and self.folder is not None:
            try:
                from tensorboardX import SummaryWriter
            except ImportError:
                raise ValueError('tensorboard=True needs `pip install "jaxgen[tensorboard]"`') from None
            self._writer = SummaryWriter

    def __enter__(self) -> Reporter:
        self._terminal = sys.stdout  # a bar replaces it by a stream without an encoding
        if self._writer is not None:
            self._events = self._writer(str(self.folder.path / "tensorboard"))
        if self.progress:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.table import Column

            console = Console()
            # in a notebook rich draws with ipywidgets, and warns where there are none
            if console.is_terminal or (console.is_jupyter and importlib.util.find_spec("ipywidgets")):
                # the bar takes what the figures leave of the line, which is never broken
                whole = Column(no_wrap=True)
                said = TextColumn("{task.fields[said]}", table_column=whole)
                left = TimeRemainingColumn(compact=True, table_column=whole)
                columns = (BarColumn(bar_width=None), MofNCompleteColumn(table_column=whole), said, left)
                # no oftener than calls end: to draw it takes milliseconds
                self._bar = Progress(*columns, console=console, expand=True, refresh_per_second=2)
                self._bar.start()
                self._task = self._bar.add_task("", total=self.steps, said="compiling")
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._events is not None:
            self._events.close()

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """Shows where the run is: losses, steps/s, time left."""
        self._marks.append((step, time.monotonic()))
        if not self.progress:
            return
        rate = self.rate()
        speed = [f"{rate:.4g} steps/s"] if rate else []
        said = "  ".join([*(f"{play} {loss:.4g}" for play, loss in losses.items()), *speed])
        said = printable(said, self._terminal)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, said=said)
        elif (now := time.monotonic()) - self._shown > 10 or step == self.steps:
            self._shown = now
            left = f"  {(self.steps - step) / rate:.0f} s left" if rate else ""
            print(f"step {step}/{self.steps}  {said}{left}", flush=True)

    def rate(self) -> float:
        """Steps a second over the latest calls; 0 after the first, which compiled and starts the clock."""
        (first, began), (last, now) = self._marks[0], self._marks[-1]
        return (last - first) / max(now - began, 1e-9)

    def line(self, step: int, figures: Mapping[str, float]) -> None:
        """Writes one line of figures."""
        if self.folder is not None:
            self.folder.append({"step": step, **figures})
        if self._events is not None:
            from tensorboardX.proto.summary_pb2 import Summary

            # one event for all: each goes through a queue to a thread
            values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
            self._events.file_writer.add_summary(Summary(value=values), step)

    def say(self, text: str) -> None:
        """Prints a sentence without breaking the bar."""
        if self._bar is not None:
            self._bar.console.print(printable(text, self._terminal), highlight=False)
        else:
            print(printable(text, sys.stderr), file=sys.stderr, flush=True)
