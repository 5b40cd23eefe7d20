"""A run's folder: what was asked for, what happened, what came out."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.contracts import Model
from jaxgen.data import checks
from jaxgen.data.errors import one_line
from jaxgen.training.description import describe
from jaxgen.writing import writing

# What may differ between a run and its resumption: none of it changes what a step computes.
_FREE = (
    "steps", "keep", "devices", "data_dir", "out", "resume", "overwrite", "tensorboard", "distributed", "coordinator",
    "process_id", "processes", "profile", "workers",
)


_SHOWN = 6
"""Fields of a config that a message names: a run of another experiment differs in most."""


class RunFolder:
    """`config.json`, `model.json`, `metrics.jsonl`, `result.json`, `checkpoints/`, `best/` and `samples/` of a run."""

    def __init__(self, path: str | Path):
        self.path = checks.location("out", path)
        self.checkpoints = self.path / "checkpoints"
        self.best = self.path / "best"
        self.samples = self.path / "samples"

    def open(self, config: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False) -> bool:
        """Makes the folder a run's own. Returns whether there was a run to go on with.

        Raises:
            FileExistsError: the folder holds a run and neither `resume` nor `overwrite` was given, or it holds other
                files, or it is a file.
            OSError: it cannot be written.
            ValueError: resuming with a config that differs, the message names the fields, or with one that is damaged.
        """
        config = json.loads(json.dumps(dict(config), default=str))
        file = self.path / "config.json"
        if self.path.is_file():
            raise FileExistsError(f"out={str(self.path)!r} is a file; name a folder")
        # a process that was killed may have come no further than beside the config
        if self.path.exists() and any(there.name != ".config.json.new" for there in self.path.iterdir()):
            if not file.exists():
                raise FileExistsError(f"out={str(self.path)!r} is a folder of other files, not of a run; name another one")
            if not (resume or overwrite):
                raise FileExistsError(
                    f"out={str(self.path)!r} holds a run already: go on with it by --resume, replace it by --overwrite, "
                    "or name another folder"
                )
            if resume:
                self._compare(read_json(file), config)
                self._write("config.json", config)
                return True
            # the config stays to the last: without it what is left is no run's
            with writing(self.path):
                for there in set(self.path.iterdir()) - {file}:
                    shutil.rmtree(there) if there.is_dir() and not there.is_symlink() else there.unlink()
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self._write("config.json", config)
        with writing(self.samples):
            self.samples.mkdir(exist_ok=True)
        return False

    def _compare(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        names = sorted((set(before) | set(now)) - set(_FREE))
        differ = [f"{n} ({before.get(n)!r} there, {now.get(n)!r} given)" for n in names if before.get(n) != now.get(n)]
        if differ:
            shown = ", ".join(differ[:_SHOWN]) + (f" and {len(differ) - _SHOWN} more" if len(differ) > _SHOWN else "")
            raise ValueError(f"out={str(self.path)!r} holds a run whose config differs from this one's in {shown}")

    def describe(self, model: Model, batch: Mapping[str, Any]) -> None:
        """Writes `model.json`: the model, and shapes and dtypes of one row. A model that has parts of the user's own
        is written as null and has to be passed to `load`."""
        try:
            description = describe(model)
        except TypeError:
            description = None
        self._write("model.json", {"model": description, "row": rows_of(batch)})

    def result(self, result: Mapping[str, Any]) -> None:
        """Writes `result.json`."""
        self._write("result.json", result)

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds a line to `metrics.jsonl`."""
        file = self.path / "metrics.jsonl"
        with writing(file), open(file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(finite(line)) + "\n")

    def cut(self, step: int, evaluated: bool = True) -> None:
        """Drops the lines of `metrics.jsonl` after `step`, and one that was cut short while it was written.

        Args:
            evaluated: False: the evaluation at `step` is still to come, and its line goes too.
        """
        kept = [line for line in self.lines() if line["step"] <= step]
        if not evaluated:
            kept = [line for line in kept if line["step"] < step or not any(name.startswith("valid/") for name in line)]
        self._replace("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines of `metrics.jsonl`."""
        file, lines = self.path / "metrics.jsonl", []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ():
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(line))
        return [line for line in lines if isinstance(line, dict) and isinstance(line.get("step"), int)]

    def _write(self, name: str, value: Any) -> None:
        self._replace(name, json.dumps(finite(value), indent=1, default=str) + "\n")

    def _replace(self, name: str, text: str) -> None:
        """Writes beside and renames, so that a file is always whole."""
        file, beside = self.path / name, self.path / f".{name}.new"
        with writing(file):
            beside.write_text(text, encoding="utf-8")
            os.replace(beside, file)


def read_json(file: Path) -> dict[str, Any]:
    """What a file that a run wrote holds.

    Raises:
        ValueError: it is damaged, or holds something else than a mapping.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as JSON: {one_line(error)}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{file} holds {type(value).__name__}, not a mapping as a run writes it")
    return value


def finite(value: Any) -> Any:
    """JSON has no NaN: numbers that are not finite become their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def rows_of(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Shapes and dtypes of one row of a batch, as JSON."""
    if isinstance(batch, Mapping):
        return {name: rows_of(value) for name, value in batch.items()}
    return [list(batch.shape[1:]), str(batch.dtype)]
