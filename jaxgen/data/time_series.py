"""Time series of real numbers: windows of one long series, or a set of short series, on a common scale.

Splits are made before windows are cut, so that windows of different splits share no time step.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgen.data import checks, files
from jaxgen.data.arrays import ArraySource
from jaxgen.data.catalog import source
from jaxgen.data.errors import DataError
from jaxgen.data.sources import Arrays
from jaxgen.data.splits import Splits, carve, split_array

FRACTIONS = (0.7, 0.1)
"""Of each block of a long series, the fractions for training and for validation; the rest is for tests."""
POOLED = (0.5, 0.1)
"""The same fractions of a pooled set of short series."""


class SeriesSource(ArraySource):
    """Series `"x"` [N, T, D], scaled column by column; `original` maps them, or a model's samples, back.

    Attributes:
        low, high: [D], the values of the file that became the ends of `interval`.
        interval: the range of the training split after scaling.
    """

    def __init__(
        self, arrays: Mapping[str, Any], *, low: np.ndarray, high: np.ndarray,
        interval: tuple[float, float] = (0.0, 1.0), name: str = "series", num_classes: int | None = None,
    ):  # fmt: skip
        super().__init__(arrays, name=name, num_classes=num_classes)
        self.low, self.high, self.interval = np.asarray(low, np.float64), np.asarray(high, np.float64), interval

    def original(self, x: Any) -> np.ndarray:
        """Series [N, T, D] in the units of the file."""
        start, end = self.interval
        return self.low + (np.asarray(x, np.float64) - start) / (end - start) * (self.high - self.low)

    def _with(self, arrays: Arrays) -> SeriesSource:
        scale = {"low": self.low, "high": self.high, "interval": self.interval}
        return SeriesSource(arrays, name=self.name, num_classes=self.num_classes, **scale)


def time_series(
    name: str | os.PathLike[str],
    series: str | None = None,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    window: int = 24,
    stride: int = 1,
    blocks: int = 6,
    pooled: bool = False,
    interval: tuple[float, float] = (0.0, 1.0),
) -> Splits:
    """Opens time series: splits of `SeriesSource`, each column scaled by the training split's minimum and maximum.

    A long series is cut into blocks of equal length, each block into a training, a validation and a test part in this
    order (`FRACTIONS`), and each part into windows; so all splits have something of every period, and none a time step
    of another.

    Args:
        name: a dataset (`jaxgen.data.source`), for example `time_gan_sines`; or the path of a .npz file, if `series` is
            given.
        series: an array of the file: a long series [T, D]; or the beginning of the names `<series>_x_train`,
            `<series>_y_train`, `<series>_x_test` and `<series>_y_test` of short series [N, T, D] with their classes.
        data_dir: the folder of relative paths.
        window, stride: time steps of a window, and between the starts of two.
        blocks: of a long series; 1: the first part in time is for training, the last for tests.
        pooled: the splits of a file of short series are joined and made anew at random (`POOLED`), for files whose
            training split is small.
        interval: the range of the scaled training split.

    Raises:
        DataError: data that cannot be read, of another layout, or too short for a window in each part.
    """
    window, stride = checks.whole("window", window, 2), checks.whole("stride", stride, 1)
    blocks = checks.whole("blocks", blocks, 1)
    if series is None:
        return _scaled(source(name, data_dir), interval)
    name = checks.path("time_series", name)
    path = checks.data_path(name, data_dir)
    arrays = files.read(path)
    if series in arrays:
        long = checks.numeric(arrays[series], f"{path.name}: {series}")
        if long.ndim != 2:
            raise DataError(f"{path.name}: {series} must be a series [T, D], got shape {long.shape}")
        parts = [{"x": x} for x in windows(long, window, stride, blocks)]
    elif {f"{series}_x_train", f"{series}_x_test"} <= set(arrays):
        parts = _short(arrays, series, pooled)
    else:
        raise DataError(f"{path.name} must have {series!r}, or '{series}_x_train' and '_x_test', got {sorted(arrays)}")
    num_classes = max(int(part["label"].max()) for part in parts) + 1 if "label" in parts[0] else None
    sources = [ArraySource(part, name=f"{path.name}: {series}", num_classes=num_classes) for part in parts]
    splits = Splits(*sources) if len(sources) == 3 else carve(sources[0], test=sources[1])
    return _scaled(splits, interval)


def windows(x: np.ndarray, window: int, stride: int = 1, blocks: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows [N, window, D] of a series [T, D] for training, validation and tests; see `time_series`.

    Raises:
        DataError: a part of a block is shorter than a window.
    """
    parts: tuple[list[np.ndarray], ...] = ([], [], [])
    edges = np.linspace(0, len(x), blocks + 1).astype(int)
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        cuts = start + np.round(np.cumsum((0.0, *FRACTIONS)) * (end - start)).astype(int)
        for part, low, high in zip(parts, cuts, (*cuts[1:], end), strict=True):
            if high - low < window:
                raise DataError(
                    f"`blocks` and `window` must leave a window in each part of a series of {len(x)} steps, "
                    f"got blocks={blocks} and window={window}"
                )
            cut = np.lib.stride_tricks.sliding_window_view(x[low:high], window, 0)[::stride]
            part.append(cut.swapaxes(1, 2))  # the view has the window's axis last
    return tuple(np.concatenate(part) for part in parts)


def _short(arrays: Arrays, series: str, pooled: bool) -> list[Arrays]:
    """The file's training and test splits, or three splits of both together."""
    parts = []
    for split in ("train", "test"):
        keys = {"x": f"{series}_x_{split}", "label": f"{series}_y_{split}"}
        parts.append({name: arrays[key] for name, key in keys.items() if key in arrays})
    if not pooled:
        return parts
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    order, count = np.random.default_rng(0).permutation(len(whole["x"])), len(whole["x"])
    cuts = np.round(np.cumsum(POOLED) * count).astype(int)
    return [{key: array[indices] for key, array in whole.items()} for indices in np.split(order, cuts)]


def _scaled(splits: Splits, interval: tuple[float, float]) -> Splits:
    x = split_array(splits.train, "x").astype(np.float64)
    if x.ndim != 3 or splits.train.levels is not None:
        raise DataError(f"{splits.train.name} must be real-valued series [N, T, D], got shape {x.shape}")
    low, high = x.min((0, 1)), x.max((0, 1))
    start, end = interval
    factor = np.where(high > low, (end - start) / np.where(high > low, high - low, 1.0), 0.0)

    def scale(split: ArraySource) -> SeriesSource:
        arrays = dict(split.arrays)
        arrays["x"] = start + factor * (arrays["x"].astype(np.float64) - low)
        return SeriesSource(
            arrays, low=low, high=high, interval=interval, name=split.name, num_classes=split.num_classes
        )

    return Splits(*(scale(split) for split in splits))
