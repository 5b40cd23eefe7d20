"""Matplotlib figures of samples, densities and curves, from arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.writing import writing

ROWS = 1024
"""Examples to pass to `samples`: it plots all points of the plane, and the first 64 images."""
SERIES = 8
"""Time series that `samples` plots."""


def drawable(x: Any) -> bool:
    """Whether `samples` can plot `x`: images with 1 or 3 channels, time series, or points of the plane."""
    return (x.ndim == 4 and x.shape[-1] in (1, 3)) or x.ndim == 3 or (x.ndim == 2 and x.shape[1] == 2)


def _figure(rows: int = 1, columns: int = 1, size: float = 4.0):
    # a canvas without global state and without a display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size * columns, size * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Any, path: str | Path) -> Path:
    """Writes a figure as PNG; returns the path.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    return path


def grid(images: Any, columns: int | None = None) -> np.ndarray:
    """Tiles images [n, H, W, C] to one image [rows (H+1) + 1, columns (W+1) + 1, 3] in [0, 1], separated by lines.

    Integer images are divided by 1, 16 or 255, the smallest of these that is at least their maximum.
    """
    images = np.asarray(images)
    if np.issubdtype(images.dtype, np.integer):
        images = images / next(top for top in (1.0, 16.0, 255.0) if top == 255.0 or images.max() <= top)
    n, h, w, c = images.shape
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    tiles = np.ones((rows * columns, h + 1, w + 1, c))
    tiles[:n, 1:, 1:] = np.clip(images, 0, 1)
    tiled = tiles.reshape(rows, columns, h + 1, w + 1, c).transpose(0, 2, 1, 3, 4).reshape(rows * (h + 1), -1, c)
    tiled = np.pad(tiled, ((0, 1), (0, 1), (0, 0)), constant_values=1.0)
    return np.broadcast_to(tiled, (*tiled.shape[:2], 3)) if c == 1 else tiled


def samples(x: Any, real: Any = None, title: str = "samples") -> Any:
    """A figure of samples: a grid of images, time series below each other, or points of the plane.

    Args:
        x: [n, H, W, C] with C = 1 or 3, [n, T, D], or [n, 2].
        real: data to show beside them, of the same event shape.
        title: the panel's title.

    Raises:
        ValueError: `x` has another shape.
    """
    x = np.asarray(x)
    if not drawable(x):
        raise ValueError(
            f"`x` must be images [n, H, W, 1 or 3], series [n, T, D] or points [n, 2], got shape {x.shape}"
        )
    panels = {title: x} if real is None else {"data": np.asarray(real), title: x}
    figure, axes = _figure(1, len(panels), 4.5)
    limit = None if x.ndim == 4 else 1.2 * np.quantile(np.abs(panels.get("data", x)), 0.999)
    for ax, (name, examples) in zip(axes[0], panels.items(), strict=True):
        if x.ndim == 4:
            ax.imshow(grid(examples[:64]), interpolation="nearest")
            ax.set_axis_off()
        elif x.ndim == 3:
            for i, series in enumerate(examples[:SERIES]):
                ax.plot(series - 2 * limit * i, color=f"C{i % 10}", linewidth=1)
            ax.set(yticks=[], ylim=(limit * (1 - 2 * SERIES), limit), xlabel="t")
        else:
            ax.scatter(*examples.T, s=4, alpha=0.6, linewidths=0)
            ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        ax.set_title(name)
    return figure


def series(groups: Mapping[str, Any], title: str = "") -> Any:
    """A figure with a row of panels for each group of time series, and a line for each column of a series.

    Args:
        groups: by name, [n, T, D] each, with one n, T and D; all panels have the same limits.
    """
    groups = {name: np.asarray(group) for name, group in groups.items()}
    stacked = np.stack(list(groups.values()))
    figure, axes = _figure(len(groups), stacked.shape[1], 1.7)
    margin = 0.05 * (np.ptp(stacked) or 1.0)
    for row, (name, group) in zip(axes, groups.items(), strict=True):
        row[0].set_ylabel(name)
        for ax, one in zip(row, group, strict=True):
            ax.plot(one, linewidth=1)
            ax.set(ylim=(stacked.min() - margin, stacked.max() + margin), xticks=[])
    figure.suptitle(title)
    return figure


def texts(groups: Mapping[str, Sequence[str]]) -> Any:
    """A figure of lines of text under the names of their groups; arrows stand for line breaks within them."""
    lines = []
    for name, group in groups.items():
        lines += [name, *(f"   {line}".replace("\n", "↵") for line in group), ""]
    figure, axes = _figure()
    figure.set_size_inches(0.08 * max(map(len, lines)) + 0.5, 0.155 * len(lines) + 0.3)
    ax = axes[0, 0]
    ax.set_axis_off()
    # without parse_math, because a dollar sign would begin a formula
    ax.text(0, 1, "\n".join(lines), family="monospace", fontsize=9, va="top", parse_math=False)
    return figure


def points(x: Any, label: Any = None, title: str = "") -> Any:
    """A figure of points of the plane [n, 2], coloured by optional integer labels [n], with a legend."""
    figure, axes = _figure(size=5.0)
    ax, x = axes[0, 0], np.asarray(x)
    groups = (
        {"": np.full(len(x), True)} if label is None else {str(c): np.asarray(label) == c for c in np.unique(label)}
    )
    for i, (name, members) in enumerate(groups.items()):
        ax.scatter(*x[members].T, s=5, alpha=0.6, linewidths=0, color=f"C{i % 10}", label=name)
    if label is not None:
        ax.legend(fontsize="small", markerscale=3)
    ax.set(title=title, aspect="equal")
    return figure


def mesh(limit: float, points: int = 100) -> np.ndarray:
    """Points of a grid over the square [-limit, limit]^2, row by row, float32 [points^2, 2]."""
    line = np.linspace(-limit, limit, points, dtype=np.float32)
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)


def mapped_points(
    panels: Mapping[str, tuple[Any, Any]],
    targets: Any,
    surfaces: Mapping[str, Any] | None = None,
    limit: float = 2.2,
) -> Any:
    """A figure with a panel for each set of translated points, over the square [-limit, limit]^2.

    Args:
        panels: by title, points [n, 2] and the integer labels [n] of their colours.
        targets: modes of the target domain, drawn as crosses, [K, 2], or by title.
        surfaces: by title, numbers in [0, 1] at the points of `mesh(limit)`, such as a critic's probabilities: the
            background, darker for higher numbers.
    """
    figure, axes = _figure(1, len(panels), 3.6)
    for ax, (title, (x, label)) in zip(axes[0], panels.items(), strict=True):
        if surfaces and title in surfaces:
            values = np.asarray(surfaces[title])
            values = values.reshape(math.isqrt(len(values)), -1)
            extent = (-limit, limit, -limit, limit)
            ax.contourf(values, np.linspace(0, 1, 11), cmap="Greys", alpha=0.5, extent=extent)
        x, label = np.asarray(x), np.asarray(label)
        for c in np.unique(label):
            ax.scatter(*x[label == c].T, s=5, alpha=0.6, linewidths=0, color=f"C{c % 10}")
        modes = targets[title] if isinstance(targets, Mapping) else targets
        ax.scatter(*np.asarray(modes).T, marker="x", color="black", s=40)
        ax.set(title=title, aspect="equal", xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[])
    return figure


def rows(images: Mapping[str, Any], title: str = "") -> Any:
    """A figure of named rows of images, aligned in columns.

    Args:
        images: by name, [n, H, W, C] with C = 1 or 3; all with the same shape and dtype.

    Raises:
        ValueError: the rows have different numbers of images.
    """
    counts = {name: len(row) for name, row in images.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"`images` must have as many images in each row, got {counts}")
    stacked = np.stack([np.asarray(row) for row in images.values()])
    count, columns, height, width = stacked.shape[:4]
    figure, axes = _figure()
    ax = axes[0, 0]
    side = max(0.6, 4 / columns)
    figure.set_size_inches(side * columns + 0.8, side * count * height / width + 0.4)
    ax.imshow(grid(stacked.reshape(-1, *stacked.shape[2:]), columns), interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([i * (height + 1) + (height + 1) / 2 for i in range(count)], list(images))
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(title)
    return figure


def density(log_prob: Callable[[np.ndarray], Any], limit: float = 4.0, points: int = 200) -> Any:
    """A figure of exp(log_prob) over the square [-limit, limit]^2.

    Args:
        log_prob: maps points [n, 2] to log-densities [n].
    """
    values = np.exp(np.asarray(log_prob(mesh(limit, points)))).reshape(points, points)
    figure, axes = _figure()
    axes[0, 0].imshow(values, origin="lower", extent=(-limit, limit, -limit, limit), cmap="magma")
    axes[0, 0].set_title("density")
    return figure


def curves(lines: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None, x: str = "step") -> Any:
    """A figure of metrics over steps; metrics that differ only in their prefix (`valid/`) share a panel.

    Args:
        lines: those of `metrics.jsonl`, each with a `step`.
        names: metrics to plot; by default every loss and evaluated metric.
        x: the entry of a line on the x axis.
    """
    metrics = {name for line in lines for name, value in line.items() if isinstance(value, float)}
    if names is None:
        names = sorted(n for n in metrics if n.endswith("/loss") or n.startswith("valid/"))
    panels: dict[str, list[str]] = {}
    for name in names:
        panels.setdefault(name.rpartition("/")[2] if not name.endswith("/loss") else name, []).append(name)
    for panel, members in panels.items():
        members += sorted(n for n in metrics if n.endswith(f"/{panel}") and n not in members)
    columns = min(3, max(1, len(panels)))
    figure, axes = _figure(max(1, -(-len(panels) // columns)), columns, 3.2)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (panel, members) in zip(axes.flat, panels.items(), strict=False):
        for name in members:
            points = [(line[x], line[name]) for line in lines if isinstance(line.get(name), float)]
            if points:
                ax.plot(*zip(*points, strict=True), label=name)
        ax.set(title=panel, xlabel=x)
        ax.legend(fontsize="small")
    return figure


def spectrum(values: Any, name: str = "sigma") -> Any:
    """A figure of one positive number per dimension, for example scales, in descending order on a logarithmic axis."""
    values = np.sort(np.ravel(np.asarray(values)))[::-1]
    figure, axes = _figure()
    axes[0, 0].semilogy(np.arange(1, len(values) + 1), values)
    axes[0, 0].set(title="spectrum", xlabel="dimension", ylabel=name)
    return figure


def lines(curves: Mapping[str, tuple[Any, Any]], x: str, y: str, whole: bool = False) -> Any:
    """A figure of lines by name, each a pair of the x and y of its points.

    Unless `whole`, the limits of the y axis ignore the first fifth of each line.
    """
    figure, axes = _figure(size=5.0)
    ax = axes[0, 0]
    for name, (positions, values) in curves.items():
        ax.plot(positions, values, label=name)
    late = np.concatenate([np.asarray(values)[0 if whole else len(values) // 5 :] for _, values in curves.values()])
    margin = 0.05 * (np.ptp(late) or 1.0)
    ax.set(xlabel=x, ylabel=y, ylim=(late.min() - margin, late.max() + margin))
    ax.legend(fontsize="small")
    return figure


def histograms(panels: Mapping[str, Mapping[str, Any]], x: str, marks: Mapping[str, float] | None = None) -> Any:
    """A figure with a histogram of several groups of numbers per panel, as fractions of each group, over common bins.

    The bins span the groups' first to last percentiles; numbers beyond are counted in the outermost.

    Args:
        panels: by panel and group, numbers of any length.
        marks: by panel, the x of a vertical line.
    """
    figure, axes = _figure(1, len(panels))
    for ax, (title, groups) in zip(axes[0], panels.items(), strict=True):
        groups = {name: np.asarray(values) for name, values in groups.items()}
        ends = [np.quantile(values, (0.01, 0.99)) for values in groups.values()]
        bins = np.linspace(np.min(ends), np.max(ends), 51)
        for name, values in groups.items():
            weights = np.full(len(values), 1 / len(values))
            ax.hist(np.clip(values, bins[0], bins[-1]), bins, weights=weights, alpha=0.6, label=name)
        if marks is not None:
            ax.axvline(marks[title], color="black", linewidth=1)
        ax.set(title=title, xlabel=x, ylabel="fraction")
        ax.legend(fontsize="small")
    return figure


def functions(x: Any, panels: Mapping[str, tuple[Any, Any, Any]], data: tuple[Any, Any] | None = None) -> Any:
    """A figure with a panel for each distribution of functions of one number.

    Args:
        x: places, [P].
        panels: by title, functions [n, P] (n may be 0), their mean [P] and standard deviation [P]: the shaded band is
            two deviations wide on either side.
        data: places and values of points to draw, [N] each.
    """
    figure, axes = _figure(1, len(panels))
    low = min(np.min(mean - 2 * deviation) for _, mean, deviation in panels.values())
    high = max(np.max(mean + 2 * deviation) for _, mean, deviation in panels.values())
    for ax, (title, (lines, mean, deviation)) in zip(axes[0], panels.items(), strict=True):
        ax.fill_between(x, mean - 2 * deviation, mean + 2 * deviation, color="C0", alpha=0.2, linewidth=0)
        for line in lines:
            ax.plot(x, line, color="C0", linewidth=0.6, alpha=0.6)
        ax.plot(x, mean, color="black")
        if data is not None:
            ax.scatter(*data, color="C3", zorder=3, s=16)
        ax.set(title=title, ylim=(low, high))
    return figure
