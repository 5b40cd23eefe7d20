"""SIGINT and SIGTERM end a run between two calls or two batches of an evaluation, after saving."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM: the run saved a checkpoint and stopped.

    Attributes:
        signum: the signal.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum


class EvaluationCut(Exception):
    """A signal ended an evaluation between two batches."""


class Signals:
    """Context manager that records SIGINT and SIGTERM in `received`; a second SIGINT raises KeyboardInterrupt."""

    received: int | None = None

    def __enter__(self) -> Signals:
        self._handlers = {}
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._handlers[signum] = signal.signal(signum, self._record)
        return self

    def __exit__(self, *_: Any) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)

    def check(self) -> None:
        """Raises `EvaluationCut` if a signal was received."""
        if self.received is not None:
            raise EvaluationCut

    def _record(self, signum: int, frame: Any) -> None:
        if self.received is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signum
