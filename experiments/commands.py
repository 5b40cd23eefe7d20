"""Experiments run by others, each in a process of its own, as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run(module: str, out: Path, *arguments: str | Sequence[str]) -> None:
    """Runs `python -m experiments.<module> --out <out> --overwrite` with more arguments, and shows its command.

    Raises:
        subprocess.CalledProcessError: it failed; its messages were printed.
    """
    words = [word for argument in arguments for word in ([argument] if isinstance(argument, str) else argument)]
    command = [sys.executable, "-m", f"experiments.{module}", "--out", str(out), "--overwrite", *words]
    print(" ".join(command[1:]), flush=True)
    # runs that differ in their seed share what is compiled
    cache = {"JAX_COMPILATION_CACHE_DIR": str((out.parent / "compiled").resolve())}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**cache, **os.environ})
