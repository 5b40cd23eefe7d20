"""A run's folder: its config, metrics, result, checkpoints and samples."""

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

# fields that a resumed run may change, because they do not change a step's result
_NOT_COMPARED = (
    "steps", "keep", "devices", "data_dir", "out", "resume", "overwrite", "tensorboard", "distributed", "coordinator",
    "process_id", "processes", "profile", "workers",
)
_MAX_FIELDS = 6  # in a message: the configs of two experiments differ in most fields


class RunFolder:
    """`config.json`, `model.json`, `metrics.jsonl`, `result.json`, `checkpoints/`, `best/` and `samples/` of a run."""

    def __init__(self, path: str | Path):
        self.path = checks.location("out", path)
        self.checkpoints = self.path / "checkpoints"
        self.best = self.path / "best"
        self.samples = self.path / "samples"

    def open(self, config: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False) -> bool:
        """Prepares the folder for a run; returns whether it holds a run to resume.

        Raises:
            FileExistsError: the folder holds a run and neither `resume` nor `overwrite` is True, or it holds other
                files, or it is a file.
            OSError: it cannot be written.
            ValueError: resuming with another config (the message names the fields), or the saved config is damaged.
        """
        config = json.loads(json.dumps(dict(config), default=str))
        file = self.path / "config.json"
        if self.path.is_file():
            raise FileExistsError(f"`out` must be a folder, got the file {str(self.path)!r}")
        # a killed process may have left nothing but the temporary file of the config
        if self.path.exists() and any(entry.name != ".config.json.new" for entry in self.path.iterdir()):
            if not file.exists():
                raise FileExistsError(
                    f"`out` must be empty or a run's folder, got {str(self.path)!r}, which holds other files"
                )
            if not (resume or overwrite):
                raise FileExistsError(
                    f"`out` must be an empty folder, got {str(self.path)!r}, which holds a run: resume it with "
                    f"--resume, or "
                    "replace it with --overwrite"
                )
            if resume:
                self._compare(read_json(file), config)
                self._write("config.json", config)
                return True
            # the config is removed last: without it the folder does not count as a run's
            with writing(self.path):
                for entry in set(self.path.iterdir()) - {file}:
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self._write("config.json", config)
        with writing(self.samples):
            self.samples.mkdir(exist_ok=True)
        return False

    def _compare(self, saved: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        names = sorted((set(saved) | set(config)) - set(_NOT_COMPARED))
        differ = [f"{n}={saved.get(n)!r}, got {config.get(n)!r}" for n in names if saved.get(n) != config.get(n)]
        if differ:
            fields = "; ".join(differ[:_MAX_FIELDS])
            more = f"; and {len(differ) - _MAX_FIELDS} more" if len(differ) > _MAX_FIELDS else ""
            raise ValueError(f"a resumed run must keep the config of {str(self.path)!r}, which differs: {fields}{more}")

    def describe(self, model: Model, batch: Mapping[str, Any]) -> None:
        """Writes `model.json`: the model, and shapes and dtypes of an example. A model with classes or functions of
        other packages is written as null and must be passed to `load`."""
        try:
            description = describe(model)
        except TypeError:
            description = None
        self._write("model.json", {"model": description, "row": example_spec(batch)})

    def result(self, result: Mapping[str, Any]) -> None:
        """Writes `result.json`."""
        self._write("result.json", result)

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds a line to `metrics.jsonl`."""
        file = self.path / "metrics.jsonl"
        with writing(file), open(file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(finite(line)) + "\n")

    def cut(self, step: int, evaluated: bool = True) -> None:
        """Removes the lines of `metrics.jsonl` after `step`, and one that was written in part.

        Args:
            evaluated: False: the evaluation at `step` is still due, and its line is removed too.
        """
        kept = [line for line in self.lines() if line["step"] <= step]
        if not evaluated:
            kept = [line for line in kept if line["step"] < step or not any(name.startswith("valid/") for name in line)]
        self._replace("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

    def lines(self) -> list[dict[str, Any]]:
        """The complete lines of `metrics.jsonl`."""
        file, lines = self.path / "metrics.jsonl", []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ():
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(line))
        return [line for line in lines if isinstance(line, dict) and isinstance(line.get("step"), int)]

    def seconds(self) -> float:
        """Seconds from the beginning to the last line of metrics, those of all processes of a resumed run; 0: no
        line."""
        lines = self.lines()
        return lines[-1].get("seconds/elapsed", 0.0) if lines else 0.0

    def _write(self, name: str, value: Any) -> None:
        self._replace(name, json.dumps(finite(value), indent=1, default=str) + "\n")

    def _replace(self, name: str, text: str) -> None:
        """Writes a temporary file and renames it, so that a file is always complete."""
        file, temporary = self.path / name, self.path / f".{name}.new"
        with writing(file):
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, file)


def read_json(file: Path) -> dict[str, Any]:
    """The mapping in a file that a run wrote.

    Raises:
        ValueError: the file is damaged, or does not hold a mapping.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as JSON: {one_line(error)}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{file} must hold a JSON mapping, got {type(value).__name__}")
    return value


def finite(value: Any) -> Any:
    """Replaces NaN and infinities, which JSON lacks, by their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def example_spec(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Shapes and dtypes of one example of a batch, as JSON."""
    if isinstance(batch, Mapping):
        return {name: example_spec(value) for name, value in batch.items()}
    return [list(batch.shape[1:]), str(batch.dtype)]
