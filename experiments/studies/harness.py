"""Shared by studies, which compare several systems: cached rows, experiments as processes, Markdown tables.

A study has named rows. Each is computed once and cached as a JSON file in the study's folder. The folder gets
`table.md`, and `records.jsonl` for those rows that `experiments.results` shows on its page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from experiments import commands
from experiments.run import exit_status
from jaxgen.training.ranges import check_ranges
from jaxgen.writing import writing

C = TypeVar("C")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """The fields of every study."""

    only: tuple[str, ...] = ()
    """Names of rows to compute; all by default. Finished rows are shown in any case."""
    runs: Path
    """Folder of finished rows, plots and the table."""


def main(config_class: type[C], study: Callable[[C], str], description: str, module: str) -> None:
    """Runs a study from the command line and prints its table."""
    config = commands.parse(config_class, description, module)
    with exit_status():
        check_ranges(config)
        print(study(config))


def slug(name: str) -> str:
    """A row's name as a file name."""
    return name.replace(" ", "_").replace(",", "").replace("/", "-")


def rows(
    compute: Mapping[str, Callable[[], Any]], only: Sequence[str], folder: Path, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The results of a study's rows by name: finished ones, and those that `only` selects.

    Args:
        compute: by name, returns the row's result, a JSON value.
        only: names to compute; empty: all.
        settings: everything that the results depend on.

    Raises:
        ValueError: an unknown name in `only`; a finished row with other settings.
    """
    if unknown := sorted(set(only) - set(compute)):
        raise ValueError(f"`only` must name rows of {list(compute)}, got {unknown}")
    settings, results = json.loads(json.dumps(settings, default=str)), {}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, row in compute.items():
        file = folder / f"{slug(name)}.json"
        if file.exists():
            finished = json.loads(file.read_text(encoding="utf-8"))
            if finished["settings"] != settings:
                raise ValueError(f"{file} has settings {finished['settings']}, got {settings}: name other `runs`")
            results[name] = finished["result"]
        elif not only or name in only:
            results[name] = row()
            write(file, json.dumps({"settings": settings, "result": results[name]}, indent=1) + "\n")
            print(f"{name}: finished", flush=True)
    return results


def experiment(module: str, out: Path, *arguments: str | Sequence[str]) -> dict[str, Any]:
    """Runs `python -m experiments.<module>` in a process of its own; returns its `result.json`."""
    commands.run(module, out, *arguments)
    return json.loads((out / "result.json").read_text(encoding="utf-8"))


def measured(result: Mapping[str, Any], metric: str, digits: int, factor: float = 1) -> str:
    """A test metric of a run's result times a factor, with its standard error if there is one; empty if it is not
    known."""
    if metric not in result["test"]:
        return ""
    error = result.get("standard_errors", {}).get(metric)
    text = f"{factor * result['test'][metric]:.{digits}f}"
    return text if error is None else f"{text} ± {factor * error:.{digits}f}"


def table(head: Sequence[str], lines: Iterable[Sequence[Any]], notes: str = "") -> str:
    """A Markdown table, with notes below."""
    text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (head, ["---"] * len(head), *lines))
    return f"{text}\n\n{notes}" if notes else text


def save(folder: Path, text: str, records: Iterable[Mapping[str, Any]] = ()) -> str:
    """Writes `table.md`, and `records.jsonl` if there are records; returns the table.

    Args:
        records: as `experiments.results` describes them.
    """
    write(folder / "table.md", text + "\n")
    if records := [json.dumps(record) for record in records]:
        write(folder / "records.jsonl", "\n".join(records) + "\n")
    return text


def write(file: Path, text: str) -> None:
    """Writes a temporary file and renames it, so that `file` is never incomplete."""
    temporary = file.with_name(f".{file.name}.new")
    with writing(file):
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
