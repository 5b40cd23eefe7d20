"""Reports a run's progress: a bar, lines of metrics, TensorBoard events."""

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


class Reporter:
    """Shows progress and writes a run's metrics, in the first process only. Use as a context manager.

    Args:
        folder: where `metrics.jsonl` is; None writes nothing.
        progress: show a bar on a terminal, or a line every ten seconds elsewhere.
        tensorboard: write events into the folder too.

    Raises:
        ValueError: `tensorboard` is True and the package is missing.
    """

    def __init__(self, folder: RunFolder | None, steps: int, *, progress: bool = True, tensorboard: bool = False):
        first = jax.process_index() == 0
        self.folder, self.steps, self.progress = folder if first else None, steps, progress and first
        self._marks: deque[tuple[int, float]] = deque(maxlen=50)
        self._began = time.monotonic()
        self._shown = 0.0
        self._bar = self._events = self._writer = None
        if tensorboard and self.folder is not None:
            try:
                from tensorboardX import SummaryWriter
            except ImportError:
                raise ValueError('`tensorboard=True` requires `pip install "jaxgen[tensorboard]"`') from None
            self._writer = SummaryWriter

    def __enter__(self) -> Reporter:
        self._terminal = sys.stdout  # the bar replaces it by a stream without an encoding
        if self._writer is not None:
            self._events = self._writer(str(self.folder.path / "tensorboard"))
        if self.progress:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.table import Column

            console = Console()
            # in a notebook rich draws with ipywidgets, and warns if they are missing
            if console.is_terminal or (console.is_jupyter and importlib.util.find_spec("ipywidgets")):
                # the bar fills the rest of the line, which is never broken
                column = Column(no_wrap=True)
                losses = TextColumn("{task.fields[losses]}", table_column=column)
                remaining = TimeRemainingColumn(compact=True, table_column=column)
                columns = (BarColumn(bar_width=None), MofNCompleteColumn(table_column=column), losses, remaining)
                # not more often than calls end, because drawing takes milliseconds
                self._bar = Progress(*columns, console=console, expand=True, refresh_per_second=2)
                self._bar.start()
                self._task = self._bar.add_task("", total=self.steps, losses="compiling")
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._events is not None:
            self._events.close()

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """Shows the step, losses, steps per second and the time left."""
        self._marks.append((step, time.monotonic()))
        if not self.progress:
            return
        rate = self.rate()
        speed = [f"{rate:.4g} steps/s"] if rate else []
        text = "  ".join([*(f"{play} {loss:.4g}" for play, loss in losses.items()), *speed])
        text = printable(text, self._terminal)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, losses=text)
        elif (now := time.monotonic()) - self._shown > 10 or step == self.steps:
            self._shown = now
            left = f"  {(self.steps - step) / rate:.0f} s left" if rate else ""
            print(f"step {step}/{self.steps}  {text}{left}", flush=True)

    def rate(self) -> float:
        """Steps per second over the latest calls; 0 after the first, which compiles and starts the clock."""
        (first, began), (last, now) = self._marks[0], self._marks[-1]
        return (last - first) / max(now - began, 1e-9)

    def resume(self) -> None:
        """Continues the clock of the folder's last line."""
        if self.folder is not None:
            self._began -= self.folder.seconds()

    def line(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes one line of metrics, with the run's `seconds/elapsed`."""
        metrics = {**metrics, "seconds/elapsed": time.monotonic() - self._began}
        if self.folder is not None:
            self.folder.append({"step": step, **metrics})
        if self._events is not None:
            from tensorboardX.proto.summary_pb2 import Summary

            # one event for all: each passes through a queue to a thread
            values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
            self._events.file_writer.add_summary(Summary(value=values), step)

    def message(self, text: str) -> None:
        """Prints a sentence without breaking the bar."""
        if self._bar is not None:
            self._bar.console.print(printable(text, self._terminal), highlight=False)
        else:
            print(printable(text, sys.stderr), file=sys.stderr, flush=True)
