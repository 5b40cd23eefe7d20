"""Brings RESULTS.md up to date with the runs at hand: `python -m experiments.results [--runs runs]`.

A run is its `result.json`; a folder with a `table.md`, as comparisons and benchmarks write, is that table. What the file
has of other experiments, data and seeds stays, and so do a table's other rows.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.commands import parse

HEAD = """# Results

Written by `python -m experiments.results` from the runs' own files. Test splits; the model's own noise is
averaged over 16 draws. A published figure stands beside a measured one, with its own set-up: read its source before
comparing. Seconds are of runs as they were, some of them side by side on the same processors.

| experiment | data | figure | measured | published | steps | training | device | seed | commit |
|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Results:
    runs: Path = Path("runs")
    """The folder that runs are in, at any depth."""
    out: Path = Path("RESULTS.md")
    """The file to write."""


def rows(result: dict[str, Any]) -> list[str]:
    """Table rows of one run: one a figure, then its baselines."""
    config, published = result["config"], result["published"]
    data = Path(result["data"]).name
    first, count = config["seed"], config.get("seeds", 1)
    seeds = str(first) if count == 1 else f"{first} to {first + count - 1}"
    ends = (f"{config['steps']:,}", f"{result['training_seconds']:.0f} s", result["devices"], seeds, result["commit"] or "")
    errors = {name: f" ± {error:.2g}" for name, error in result.get("standard_errors", {}).items()}
    lines = []
    for name, value in result["test"].items():
        there = f"{published['value']} ({published['source']})" if published and published["figure"] == name else ""
        lines.append((result["experiment"].removeprefix("experiments."), data, name, f"{value:.4g}{errors.get(name, '')}", there, *ends))
    for name, value in result["baselines"].items():
        lines.append(("baseline", data, name, f"{value:.4g}", "", "", "", "", "", ""))
    if published and published["figure"] not in result["test"]:
        lines.append(("published", data, published["figure"], "", f"{published['value']} ({published['source']})", *[""] * 5))
    return ["| " + " | ".join(line) + " |" for line in lines]


def command(result: dict[str, Any]) -> str:
    """The run's command line, its paths as bare file names."""
    return " ".join(os.path.basename(word) if os.sep in word else word for word in result["command"].split())


def write(config: Results) -> int:
    """Writes the file; returns the number of runs and tables in it that are at hand."""
    # unlike Path.rglob, os.walk does not mind folders that a run removes meanwhile
    files = [Path(folder, name) for folder, _, names in os.walk(config.runs) for name in names]
    tables = {
        file.parent.relative_to(config.runs).as_posix(): file.read_text(encoding="utf-8")
        for file in files
        if file.name == "table.md"
    }
    results = [
        json.loads(file.read_text(encoding="utf-8"))
        for file in files
        # a table stands for its runs, and the means over several seeds for theirs
        if file.name == "result.json"
        and not any((folder / "table.md").exists() for folder in file.parents)
        and not (file.parents[1] / "result.json").exists()
    ]
    runs, commands, sections = _read(config.out.read_text(encoding="utf-8")) if config.out.exists() else ({}, {}, {})
    for result in results:
        lines = rows(result)
        runs[_name(lines[0])] = lines
        if result["command"]:
            commands[_name(lines[0])] = f"- `{command(result)}`"
    sections |= {name: _with_rows_of(sections.get(name, ""), table) for name, table in tables.items()}
    table = "\n".join(line for name in sorted(runs) for line in runs[name])
    listed = "\n".join(commands[name] for name in sorted(commands))
    parts = [f"{HEAD}{table}\n\nThe commands:\n\n{listed}\n", *(f"## {name}\n\n{sections[name].strip()}\n" for name in sorted(sections))]
    config.out.write_text("\n".join(parts), encoding="utf-8")
    return len(results) + len(tables)


def _name(line: str) -> tuple[str, str, str]:
    """Experiment, data and seed of a run, from the first of its rows."""
    cells = [cell.strip() for cell in line.split("|")]
    return cells[1], cells[2], cells[9]


def _with_rows_of(old: str, new: str) -> str:
    """The new table, and those rows of the old one, under the same columns, whose first two cells it does not have."""
    lines, before = new.strip().splitlines(), old.strip().splitlines()
    if not before or lines[0] != before[0]:
        return new
    there = {tuple(line.split("|")[1:3]) for line in lines}
    missing = [line for line in before if line.startswith("|") and tuple(line.split("|")[1:3]) not in there]
    end = sum(line.startswith("|") for line in lines)
    return "\n".join([*lines[:end], *missing, *lines[end:]])


def _read(text: str) -> tuple[dict, dict, dict]:
    """What a file has: rows and command of each run, and the tables by their names."""
    first, *rest = text.split("\n## ")
    sections = {name: body for name, _, body in (section.partition("\n") for section in rest)}
    table, _, listed = first.partition("The commands:")
    runs: dict[tuple[str, str, str], list[str]] = {}
    for line in table.partition("|---")[2].splitlines()[1:]:
        if line.startswith("|"):
            name = _name(line)
            # baselines and published figures follow their run
            mine = list(runs)[-1] if name[0] in ("baseline", "published") else name
            runs.setdefault(mine, []).append(line)
    commands = [line for line in listed.splitlines() if line.startswith("- ")]
    # in the order of the runs
    return runs, dict(zip(runs, commands, strict=True)), sections


if __name__ == "__main__":
    chosen = parse(Results, __doc__, "experiments.results")
    print(f"{chosen.out}: {write(chosen)} runs and tables")
