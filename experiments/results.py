"""Writes RESULTS.md from the `result.json` files of runs: `python -m experiments.results [--runs runs]`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEAD = """# Results

Written by `python -m experiments.results` from the `result.json` of each run. Test splits; the model's own noise is
averaged over 16 draws. A published figure stands beside a measured one, with its own set-up: read its source before
comparing.

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
    ends = (f"{config['steps']:,}", f"{result['training_seconds']:.0f} s", result["devices"], str(config["seed"]), result["commit"] or "")
    lines = []
    for name, value in result["test"].items():
        there = f"{published['value']} ({published['source']})" if published and published["figure"] == name else ""
        lines.append((result["experiment"].removeprefix("experiments."), data, name, f"{value:.4g}", there, *ends))
    for name, value in result["baselines"].items():
        lines.append(("baseline", data, name, f"{value:.4g}", "", "", "", "", "", ""))
    if published and published["figure"] not in result["test"]:
        lines.append(("published", data, published["figure"], "", f"{published['value']} ({published['source']})", *[""] * 5))
    return ["| " + " | ".join(line) + " |" for line in lines]


def command(result: dict[str, Any]) -> str:
    """The run's command line, its paths as bare file names."""
    return " ".join(os.path.basename(word) if os.sep in word else word for word in result["command"].split())


def write(config: Results) -> int:
    """Writes the file; returns the number of runs in it."""
    results = [json.loads(file.read_text()) for file in sorted(config.runs.rglob("result.json"))]
    results.sort(key=lambda r: (r["experiment"], r["data"], r["config"]["seed"]))
    table = "\n".join(line for result in results for line in rows(result))
    commands = "\n".join(f"- `{command(result)}`" for result in results if result["command"])
    config.out.write_text(f"{HEAD}{table}\n\nThe commands:\n\n{commands}\n")
    return len(results)


if __name__ == "__main__":
    import tyro

    chosen = tyro.cli(Results, description=__doc__, prog="python -m experiments.results")
    print(f"{chosen.out}: {write(chosen)} runs")
