"""Our flows against those of other libraries, on the CPU: `python -m experiments.benchmarks.flows`.

`pip install -e ".[bench]"` brings flowjax, zuko, nflows, normflows and PyTorch; distrax, which needs a nightly build of
TensorFlow Probability, is timed where it is installed. What is timed is in `peers.py`: a train step (loss, gradient and
Adam's update), `log_prob` and sampling of flows of equal sizes in float32, whose numbers of parameters differ by no
more than 2 %. Every library has a process of its own and all processors; the processes take turns, round by round, each
waiting while another is timed. Figures are medians over the rounds, in table.md with their quartiles; the first calls,
which compile or warm up, are single; the memory is the greatest resident set of the process, imports included.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.peers import CALLS, LIBRARIES, ROWS, Row

OURS = next(iter(LIBRARIES))
TOLERANCE = 0.02
"""By which numbers of parameters may differ."""
SECONDS = 0.2
"""That a library's turn takes, about: as many calls as fit, or one."""
MEASURES = {
    "train": ("train step, ms", 1e3),
    "log_prob": ("log_prob, ms", 1e3),
    "sample": ("sample, ms", 1e3),
    "first train": ("first train step, s", 1.0),
    "first log_prob": ("first log_prob, s", 1.0),
    "first sample": ("first sample, s", 1.0),
    "memory": ("peak memory, MiB", 1.0),
}
"""Each measure's name and the factor to its unit; of all of them less is better."""


@dataclass(frozen=True)
class Flows:
    rows: tuple[str, ...] = tuple(ROWS)
    """What to time."""
    libraries: tuple[str, ...] = tuple(LIBRARIES)
    """Whose flows to time; those that are not installed are passed over."""
    rounds: int = 15
    """Turns of each library."""
    out: Path = Path("runs/benchmarks.flows")
    """Where table.json, table.md and plot.png go."""

    def check(self) -> None:
        """Raises ValueError where a name is unknown, or there are no rounds."""
        for given, known in ((self.rows, ROWS), (self.libraries, LIBRARIES)):
            if unknown := set(given) - set(known):
                raise ValueError(f"{sorted(unknown)} are unknown; there are {list(known)}")
        if self.rounds < 1:
            raise ValueError(f"rounds={self.rounds}, at least 1 is needed")


class Worker:
    """A process that holds one library's flow; it does nothing between two questions."""

    def __init__(self, library: str, row: Row):
        self.library = library
        # compiled anew, on the CPU
        env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"} | {"JAX_PLATFORMS": "cpu"}
        command = ("-W", "ignore", "-m", "experiments.benchmarks.peers", library, json.dumps(dataclasses.asdict(row)))
        self.process = subprocess.Popen(
            (sys.executable, *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
            cwd=Path(__file__).parents[2],
        )
        self.greeting = self._answer()

    def ask(self, *question: Any) -> Any:
        """The answer to a question, as `peers.serve` gives it."""
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.library}'s process ended with status {self.process.wait()}; its error is above")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def measure(row: Row, libraries: Sequence[str], rounds: int) -> dict[str, Any]:
    """Times a row.

    Returns:
        `parameters` by library, `absent`: why a library has no figures, and `measures`: by measure and library the
        values, in seconds or MiB; one for each round, or a single one.
    """
    workers, absent, measures = {}, {}, {name: {} for name in MEASURES}
    try:
        for library in libraries:
            worker = Worker(library, row)
            if (why := worker.greeting.get("absent")) is None:
                workers[library] = worker
            else:
                worker.close()
                absent[library] = why
        parameters = {library: worker.greeting["parameters"] for library, worker in workers.items()}
        check_sizes(parameters)
        calls = {}
        for library, worker in workers.items():
            for what, seconds in worker.greeting["warm_up"].items():
                measures[f"first {what}"][library] = seconds[:1]
                calls[library, what] = max(1, round(SECONDS / seconds[-1]))
        for _ in range(rounds):
            for what in CALLS:
                for library, worker in workers.items():
                    n = calls[library, what]
                    measures[what].setdefault(library, []).append(worker.ask(what, n) / n)
        for library, worker in workers.items():
            measures["memory"][library] = [worker.ask("memory")]
    finally:
        for worker in workers.values():
            worker.close()
    return {"sizes": dataclasses.asdict(row), "parameters": parameters, "absent": absent, "measures": measures}


def check_sizes(parameters: Mapping[str, int]) -> None:
    """Raises ValueError where a library's number of parameters is not that of the first, within 2 %."""
    first, n = next(iter(parameters.items()), ("", 0))
    for library, m in parameters.items():
        if abs(m / n - 1) > TOLERANCE:
            raise ValueError(f"{library}'s flow has {m:,} parameters, {first}'s {n:,}: no fair comparison")


def ratio(values: Mapping[str, Sequence[float]]) -> tuple[str, float] | None:
    """The best peer and its median over ours; None where we or all peers are missing."""
    medians = {library: float(np.median(v)) for library, v in values.items()}
    ours = medians.pop(OURS, None)
    if ours is None or not medians:
        return None
    best = min(medians, key=medians.get)
    return best, medians[best] / ours


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def cell(values: Sequence[float] | None, factor: float, quartiles: bool) -> str:
    """A median, if wanted with its quartiles where there are several values."""
    if not values:
        return "–"
    low, median, high = (number(q * factor) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return f"{median} ({low}–{high})" if quartiles and len(values) > 1 else median


def head(libraries: Sequence[str]) -> list[str]:
    return ["measure", *libraries, "best peer / ours"]


def lines(row: Mapping[str, Any], libraries: Sequence[str], quartiles: bool) -> list[list[str]]:
    """The cells of a row: its parameters and its measures, by library."""
    counts = (row["parameters"].get(library) for library in libraries)
    found = [["parameters", *(f"{n:,}" if n else "–" for n in counts), ""]]
    for what, (title, factor) in MEASURES.items():
        values, best = row["measures"][what], ratio(row["measures"][what])
        cells = (cell(values.get(library), factor, quartiles) for library in libraries)
        found.append([title, *cells, f"{best[1]:.2f} ({best[0]})" if best else "–"])
    return found


def notes(result: Mapping[str, Any]) -> list[str]:
    """Who is missing where, and why; where and with what the figures were taken."""
    lines = [f"{library} is not installed" for library in result["not installed"]]
    absent = {(library, why) for row in result["rows"].values() for library, why in row["absent"].items()}
    lines += [f"{library}: {why}" for library, why in sorted(absent)]
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    return [*lines, f"{result['rounds']} rounds on {result['processors']} processors; {versions}"]


def markdown(result: Mapping[str, Any]) -> str:
    """One table for all rows, with quartiles, and the notes."""
    titles = ["row", *head(result["libraries"])]
    cells = [titles, ["---"] * len(titles)]
    for name, row in result["rows"].items():
        cells += [[name, *line] for line in lines(row, result["libraries"], quartiles=True)]
    text = ["| " + " | ".join(line) + " |" for line in cells]
    return "\n".join([*text, "", *(f"- {note}" for note in notes(result)), ""])


def plot(result: Mapping[str, Any]) -> Any:
    """A figure: for each call the medians of all rows and libraries as bars, with their quartiles."""
    # an own canvas, as in `jaxgen.plotting`
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3 * len(CALLS)), layout="constrained")
    FigureCanvasAgg(figure)
    rows, libraries = result["rows"], result["libraries"]
    width = 0.8 / max(1, len(libraries))
    for ax, what in zip(figure.subplots(len(CALLS), 1), CALLS, strict=True):
        title, factor = MEASURES[what]
        for i, library in enumerate(libraries):
            values = [(j, row["measures"][what].get(library)) for j, row in enumerate(rows.values())]
            values = {j: v for j, v in values if v}
            if not values:
                continue
            low, median, high = np.quantile(list(values.values()), (0.25, 0.5, 0.75), axis=1) * factor
            places = [j + (i + 0.5) * width - 0.4 for j in values]
            ax.bar(places, median, width, yerr=(median - low, high - median), label=library)
        ax.set(yscale="log", ylabel=title, xticks=range(len(rows)), xticklabels=rows)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=max(1, len(libraries)))
    return figure


def main(config: Flows) -> dict[str, Any]:
    """Times everything, writes table.json, table.md and plot.png, prints the table; returns what table.json holds."""
    from rich.console import Console
    from rich.table import Table

    from jaxgen import plotting

    config.check()
    console = Console(highlight=False)
    console.width = max(console.width, 120)  # of the tables
    libraries = [library for library in config.libraries if importlib.util.find_spec(library) is not None]
    rows = {}
    for name in config.rows:
        console.print(f"{name}: {', '.join(libraries)}")
        rows[name] = measure(ROWS[name], libraries, config.rounds)
    result = {
        "libraries": libraries,
        "not installed": [library for library in config.libraries if library not in libraries],
        "rounds": config.rounds,
        "processors": os.cpu_count(),
        "versions": _versions(libraries),
        "rows": rows,
    }
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "table.json").write_text(json.dumps(result, indent=1))
    (config.out / "table.md").write_text(markdown(result))
    plotting.save(plot(result), config.out / "plot.png")
    for name, row in rows.items():
        shown = Table(*head(libraries), title=f"{name}: medians of {config.rounds} rounds")
        for line in lines(row, libraries, quartiles=False):
            shown.add_row(*line)
        console.print(shown)
    for note in notes(result):
        console.print(note)
    console.print(f"table.json, table.md and plot.png: {config.out}")
    return result


def _versions(libraries: Sequence[str]) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in (*libraries, "jax", "torch"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # torch, where no peer needs it
    return versions


if __name__ == "__main__":
    import tyro

    chosen = tyro.cli(Flows, description=__doc__, prog="python -m experiments.benchmarks.flows")
    try:
        chosen.check()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    main(chosen)
