"""Libraries side by side, each in a process of its own, timed alternately: shared by the benchmarks against peers.

A process builds one library's model, calls each of its functions `WARM_UP` times, and prints one line of JSON with its
number of parameters and the durations of those calls. Then it answers each line `["train", 20]` with the wall and
processor seconds of 20 calls, and `["memory"]` with its peak memory in MiB. Between the lines it is idle. On a loaded
machine processor times are the ones to compare. All libraries keep the memory that they free, and
JAX frees temporaries early in all that use it (`jaxgen.heap`).

Values are medians over the rounds, in table.md with their quartiles; first calls, which compile or warm up, are single
measurements; the memory is the greatest resident set of the process, imports included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.heap import keep_freed_memory

OURS = "jaxgen"
TOLERANCE = 0.02
"""Relative difference of numbers of parameters that is allowed."""
SECONDS = 0.2
"""Approximate duration of a library's calls in a round: as many as fit, or one."""
WARM_UP = 3
LEARNING_RATE = 1e-4
"""Adam's learning rate; small, so that the model changes little while it is timed."""
MEASURES = {
    "train": ("train step, ms", 1e3),
    "train processor": ("train step, processor ms", 1e3),
    "mle": ("step of maximum likelihood, ms", 1e3),
    "mle processor": ("step of maximum likelihood, processor ms", 1e3),
    "log_prob": ("log_prob, ms", 1e3),
    "log_prob processor": ("log_prob, processor ms", 1e3),
    "sample": ("sample, ms", 1e3),
    "sample processor": ("sample, processor ms", 1e3),
    "rollouts": ("rollouts, ms", 1e3),
    "rollouts processor": ("rollouts, processor ms", 1e3),
    "product": ("its largest matrix product, ms", 1e3),
    "product processor": ("its largest matrix product, processor ms", 1e3),
    "floor": ("its multiply-adds at that rate, processor ms", 1e3),
    "first train": ("first train step, s", 1.0),
    "first train processor": ("first train step, processor s", 1.0),
    "first mle": ("first step of maximum likelihood, s", 1.0),
    "first mle processor": ("first step of maximum likelihood, processor s", 1.0),
    "first log_prob": ("first log_prob, s", 1.0),
    "first log_prob processor": ("first log_prob, processor s", 1.0),
    "first sample": ("first sample, s", 1.0),
    "first sample processor": ("first sample, processor s", 1.0),
    "first rollouts": ("first rollouts, s", 1.0),
    "first rollouts processor": ("first rollouts, processor s", 1.0),
    "memory": ("peak memory, MiB", 1.0),
}
"""Each measure's title and the factor to its unit, in the order of the tables; for all of them less is better."""


class NotOffered(Exception):
    """A library does not have a row's model."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The config of a benchmark; subclasses set rows, libraries and folder."""

    rows: tuple[str, ...] = ()
    """Rows to time."""
    libraries: tuple[str, ...] = ()
    """Libraries to time; those that are not installed are skipped."""
    rounds: int = 15
    """Rounds of timing."""
    out: Path = Path("runs/benchmarks")
    """The folder for table.json, table.md and plot.png."""

    def check(self, known_rows: Any, known_libraries: Any) -> None:
        """Raises ValueError for unknown names or no rounds."""
        for name, known in (("rows", known_rows), ("libraries", known_libraries)):
            if unknown := set(getattr(self, name)) - set(known):
                raise ValueError(f"`{name}` must be from {list(known)}, got {sorted(unknown)}")
        if self.rounds < 1:
            raise ValueError(f"`rounds` must be at least 1, got {self.rounds}")


def run(config: type[Config], main: Callable[[Any], Any], description: str, module: str) -> None:
    """Runs a benchmark from the command line; exit status 2 if an argument is invalid."""
    # imported here, as it would add to the memory of the timed processes
    from experiments.commands import parse

    chosen = parse(config, description, module)
    try:
        chosen.check()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    main(chosen)


# In the timed process.


def timed(call: Callable[[], Any], calls: int, size: int) -> tuple[float, float]:
    """Wall and processor seconds of `calls` calls, each of which returns `size` numbers.

    Raises:
        ValueError: another size, or below 90 % finite numbers (unbounded scales may send a few samples to infinity).
    """
    began, processor = time.perf_counter(), time.process_time()
    for _ in range(calls):
        out = call()
    seconds = time.perf_counter() - began, time.process_time() - processor
    out = np.asarray(out)
    if out.size != size or np.isfinite(out).mean() < 0.9:
        got = f"{np.isfinite(out).sum()} in shape {out.shape}"
        raise ValueError(f"the result must be {size} finite numbers, got {got}")
    return seconds


def serve(build: Callable[[], Any], sizes: Mapping[str, int], lines: Any, send: Callable[[Any], None]) -> None:
    """Builds, warms up, and answers the lines.

    Args:
        build: returns an object with `parameters`, a number, and functions without arguments under the names in
            `sizes`, None for those that it lacks.
        sizes: how many numbers each function returns.
    """
    try:
        built = build()
    except (NotOffered, ImportError) as error:
        send({"absent": str(error)})
        return
    calls = {what: call for what in sizes if (call := getattr(built, what)) is not None}
    warm_up = {what: [timed(call, 1, sizes[what]) for _ in range(WARM_UP)] for what, call in calls.items()}
    send({"parameters": built.parameters, "warm_up": warm_up})
    for line in lines:
        what, *n = json.loads(line)
        if what == "memory":
            # KiB; bytes on macOS
            send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))
        else:
            send(timed(calls[what], n[0], sizes[what]))


def answer(respond: Callable[[Any, Callable[[Any], None]], None]) -> None:
    """Runs `respond(lines, send)` on the standard streams; the output of libraries goes to the error stream."""
    keep_freed_memory()
    answers = sys.stdout

    def send(value: Any) -> None:
        print(json.dumps(value), file=answers, flush=True)

    with contextlib.redirect_stdout(sys.stderr):
        respond(sys.stdin, send)


def processors() -> int:
    """Number of processors that this process may use, fewer than the machine has under `taskset`."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def prepare_torch() -> None:
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(processors())


def torch_step(parameters: list[Any], loss: Callable[[], Any]) -> Callable[[], Any]:
    """A function that takes one step of Adam and returns the loss."""
    import torch

    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, fused=True)

    def train():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.detach()

    return train


# In the asking process.


class Worker:
    """A process with one library's model, idle between two questions."""

    def __init__(self, module: str, library: str, row: Any):
        self.library = library
        # without cached programs, on the CPU
        env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"} | {"JAX_PLATFORMS": "cpu"}
        command = ("-W", "ignore", "-m", module, library, json.dumps(dataclasses.asdict(row)))
        self.process = subprocess.Popen(
            (sys.executable, *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
            cwd=Path(__file__).parents[2],
        )
        self.greeting = self._answer()

    def ask(self, *question: Any) -> Any:
        """The answer of `serve` to a question."""
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


def measure(module: str, row: Any, libraries: Sequence[str], rounds: int) -> dict[str, Any]:
    """Times a row.

    Args:
        module: run by `python -m` with a library and a row (as JSON); it calls `serve`.

    Returns:
        `parameters` by library; `absent`, the reasons why libraries have no values; and `measures`, by measure and
        library, the values in seconds or MiB, one for each round or a single one.
    """
    workers, absent, measures = {}, {}, {name: {} for name in MEASURES}
    try:
        for library in libraries:
            worker = Worker(module, library, row)
            if (reason := worker.greeting.get("absent")) is None:
                workers[library] = worker
            else:
                worker.close()
                absent[library] = reason
        parameters = {library: worker.greeting["parameters"] for library, worker in workers.items()}
        check_sizes(parameters)
        calls = {}
        for library, worker in workers.items():
            for what, seconds in worker.greeting["warm_up"].items():
                for name, value in zip((f"first {what}", f"first {what} processor"), seconds[0], strict=True):
                    measures.get(name, {})[library] = [value]
                calls[what, library] = max(1, round(SECONDS / seconds[-1][0]))
        order = sorted(calls, key=lambda call: list(MEASURES).index(call[0]))
        for _ in range(rounds):
            for what, library in order:
                n = calls[what, library]
                for name, value in zip((what, f"{what} processor"), workers[library].ask(what, n), strict=True):
                    measures[name].setdefault(library, []).append(value / n)
        for library, worker in workers.items():
            measures["memory"][library] = [worker.ask("memory")]
    finally:
        for worker in workers.values():
            worker.close()
    measures = {name: values for name, values in measures.items() if values}
    return {"sizes": dataclasses.asdict(row), "parameters": parameters, "absent": absent, "measures": measures}


def check_sizes(parameters: Mapping[str, int]) -> None:
    """Raises ValueError unless all numbers of parameters are within the tolerance of the first library's."""
    first, n = next(iter(parameters.items()), ("", 0))
    for library, m in parameters.items():
        if abs(m / n - 1) > TOLERANCE:
            raise ValueError(f"{library}'s model has {m:,} parameters, {first}'s {n:,}, beyond {TOLERANCE:.0%}")


def compare(module: str, rows: Mapping[str, Any], libraries: Sequence[str], rounds: int) -> dict[str, Any]:
    """Times all rows; skips libraries that are not installed."""
    installed = [library for library in libraries if importlib.util.find_spec(library) is not None]
    measured = {}
    for name, row in rows.items():
        print(f"{name}: {', '.join(installed)}")
        measured[name] = measure(module, row, installed, rounds)
    return {
        "libraries": installed,
        "not installed": [library for library in libraries if library not in installed],
        "rounds": rounds,
        "processors": processors(),
        "versions": _versions(installed),
        "rows": measured,
    }


def write(result: Mapping[str, Any], out: Path) -> None:
    """Writes table.json, table.md and plot.png, and prints the table."""
    from rich.console import Console
    from rich.table import Table

    from jaxgen import plotting

    out.mkdir(parents=True, exist_ok=True)
    (out / "table.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (out / "table.md").write_text(markdown(result), encoding="utf-8")
    plotting.save(plot(result), out / "plot.png")
    console = Console(highlight=False)
    console.width = max(console.width, 120)  # the tables' width
    for name, row in result["rows"].items():
        shown = Table(*head(result["libraries"]), title=f"{name}: medians of {result['rounds']} rounds")
        for line in lines(row, result["libraries"], quartiles=False):
            shown.add_row(*line)
        console.print(shown)
    for note in notes(result):
        console.print(note)
    console.print(f"table.json, table.md and plot.png: {out}")


def ratio(values: Mapping[str, Sequence[float]]) -> tuple[str, float] | None:
    """The best peer and its median over ours; None if we or all peers are missing."""
    medians = {library: float(np.median(v)) for library, v in values.items()}
    ours = medians.pop(OURS, None)
    if ours is None or not medians:
        return None
    best = min(medians, key=medians.get)
    return best, medians[best] / ours


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def cell(values: Sequence[float] | None, factor: float, quartiles: bool) -> str:
    """The median, with quartiles if wanted and there are several values."""
    if not values:
        return "–"
    low, median, high = (number(q * factor) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return f"{median} ({low}–{high})" if quartiles and len(values) > 1 else median


def head(libraries: Sequence[str]) -> list[str]:
    return ["measure", *libraries, "best peer / ours"]


def lines(row: Mapping[str, Any], libraries: Sequence[str], quartiles: bool) -> list[list[str]]:
    """The cells of a row: its parameters and its measures, by library."""
    counts = (row["parameters"].get(library) for library in libraries)
    rows = [["parameters", *(f"{n:,}" if n else "–" for n in counts), ""]]
    for what, values in row["measures"].items():
        title, factor = MEASURES[what]
        best = ratio(values)
        cells = (cell(values.get(library), factor, quartiles) for library in libraries)
        rows.append([title, *cells, f"{best[1]:.2f} ({best[0]})" if best else "–"])
    return rows


def notes(result: Mapping[str, Any]) -> list[str]:
    """Missing libraries with the reasons, notes of rows, and the rounds, processors and versions."""
    lines = [f"{library} is not installed" for library in result["not installed"]]
    absent = {item for row in result["rows"].values() for item in row["absent"].items()}
    lines += [f"{library}: {reason}" for library, reason in sorted(absent)]
    lines += [f"{name}: {row['note']}" for name, row in result["rows"].items() if "note" in row]
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
    """A panel for each function: the medians in milliseconds of all rows and libraries, as bars with quartiles."""
    # with its own canvas, as in `jaxgen.plotting`
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, libraries = result["rows"], result["libraries"]
    calls = [what for what in ("train", "log_prob", "sample") if any(what in row["measures"] for row in rows.values())]
    figure = Figure(figsize=(10, 3 * len(calls)), layout="constrained")
    FigureCanvasAgg(figure)
    width = 0.8 / max(1, len(libraries))
    for ax, what in zip(figure.subplots(len(calls), 1, squeeze=False)[:, 0], calls, strict=True):
        title, factor = MEASURES[what]
        for i, library in enumerate(libraries):
            values = [(j, row["measures"].get(what, {}).get(library)) for j, row in enumerate(rows.values())]
            values = {j: v for j, v in values if v}
            if not values:
                continue
            low, median, high = np.quantile(list(values.values()), (0.25, 0.5, 0.75), axis=1) * factor
            places = [j + (i + 0.5) * width - 0.4 for j in values]
            ax.bar(places, median, width, yerr=(median - low, high - median), label=library)
        ax.set(yscale="log", ylabel=title, xticks=range(len(rows)), xticklabels=rows)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=max(1, len(libraries)))
    return figure


def _versions(libraries: Sequence[str]) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in (*libraries, "jax", "torch"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # torch, if no peer needs it
    return versions
