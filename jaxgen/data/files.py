"""A user's own arrays: `.npy` and `.npz` files."""

import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from jaxgen.data import checks
from jaxgen.data.arrays import ArraySource
from jaxgen.data.errors import DataError, one_line
from jaxgen.data.sources import Arrays
from jaxgen.data.splits import Splits, carve

SUFFIXES = (".npy", ".npz")
SPLITS = ("train", "valid", "test")
PIXELS = (np.uint8, np.bool_)
# What NumPy, zip and its decompressors say of damaged files, and of sizes that no memory holds.
_DAMAGE = (
    OSError, EOFError, ValueError, NotImplementedError, MemoryError, OverflowError, RecursionError, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
# Which keys of a file may be which array of a batch.
KEYS = {"x": ("x", "num"), "label": ("label", "labels", "y"), "context": ("context",), "categories": ("cat",)}


def load(path: Path) -> Splits:
    """The splits of a file.

    A `.npy` file is `"x"`. A `.npz` file has `x`, or `x_train` and where there are any `x_valid` and `x_test`, beside
    them `label*` (also `labels*`, `y*`) and `context*`; what is missing is taken from the training rows, `carve`.
    Images, uint8 or boolean `[rows, height, width]`, get a channel axis. uint8 data have 256 levels, or two where the
    file holds nothing but 0 and 1. Classes are counted over all splits. Nothing is ever unpickled.

    Records have `num_train*`, their numeric columns, in place of `x_train`, and beside it `cat_train*`, the categorical
    ones as integers, which become `"categories"`; so do the other splits, `num_test` before one of a longer name.

    Raises:
        DataError: for files that are missing, damaged, not of these keys, or hold Python objects, and for arrays that
            `ArraySource` refuses.
    """
    parts = _parts(path)
    if "train" not in parts:
        raise DataError(f"{path}: 'x_train' is missing beside {[f'x_{part}' for part in parts]}")
    xs = [part["x"] for part in parts.values()]
    if len({(x.dtype, x.shape[1:]) for x in xs}) > 1:
        kinds = {f"x_{name}": f"{part['x'].dtype}{list(part['x'].shape[1:])}" for name, part in parts.items()}
        raise DataError(f"{path}: splits differ in their rows, {kinds}: one type and one shape are needed")
    levels, classes = _levels(xs), _classes([part["label"] for part in parts.values() if "label" in part])
    sources = {
        name: ArraySource(part, levels=levels, name=f"{path.name} ({name})", classes=classes)
        for name, part in parts.items()
    }
    return carve(sources["train"], sources.get("valid"), sources.get("test"))


def _parts(path: Path) -> dict[str, Arrays]:
    """Arrays by split; a file without splits is all `"train"`."""
    with _readable(str(path)), open(path, "rb") as stream:
        file = np.load(stream, allow_pickle=False)
        if isinstance(file, np.ndarray):
            return {"train": {"x": _as_images(file)}}
        if "x" in file:
            suffixes = {"train": ""}
        else:
            suffixes = {name: f"_{name}" for name in SPLITS if f"x_{name}" in file} or _record_suffixes(path, file)
        if not suffixes:
            raise DataError(f"{path} has arrays {file.files}: 'x', or 'x_train' and others, is needed")
        return {name: _part(path, file, suffix) for name, suffix in suffixes.items()}


def _record_suffixes(path: Path, file: Mapping[str, np.ndarray]) -> dict[str, str]:
    suffixes = {}
    for name in SPLITS:
        keys = [key for key in file if key.startswith(f"num_{name}")]
        if len(keys) > 1 and f"num_{name}" not in keys:
            raise DataError(f"{path} has arrays {keys}: one of them must be 'num_{name}', or there must be only one")
        if keys:
            suffixes[name] = min(keys, key=len).removeprefix("num")
    return suffixes


def _part(path: Path, file: Mapping[str, np.ndarray], suffix: str) -> Arrays:
    arrays = {}
    for name, keys in KEYS.items():
        for key in (key + suffix for key in keys if key + suffix in file):
            with _readable(f"{path}: array {key!r}"):
                arrays[name] = file[key]
                if not isinstance(arrays[name], np.ndarray):
                    raise DataError(f"{path}: array {key!r} is no .npy inside of the .npz")
    return {**arrays, "x": _as_images(arrays["x"])}


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Turns the many errors of NumPy, zip and zlib into one sentence that begins with `what`."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{what} does not exist: the path of a .npy or .npz file is needed") from None
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{what} holds pickled Python objects, which may run code when read: plain numeric arrays are needed"
            ) from None
        raise DataError(f"{what} cannot be read as .npy or .npz: {one_line(error)}") from error


def _as_images(x: np.ndarray) -> np.ndarray:
    return x[..., None] if x.dtype in PIXELS and x.ndim == 3 else x


def _levels(xs: list[np.ndarray]) -> int | None:
    if xs[0].dtype not in PIXELS:
        return None
    return 2 if all(x.max(initial=0) <= 1 for x in xs) else 256


def _classes(labels: list[np.ndarray]) -> int | None:
    """As their type or shape tells, or one more than the largest of integers; `ArraySource` refuses others."""
    known = {checks.classes_of(label) for label in labels}
    if len(known) == 1 and None not in known:
        return known.pop()
    if not labels or any(label.dtype.kind not in "iu" or label.size == 0 for label in labels):
        return None
    return int(max(label.max() for label in labels)) + 1
