"""Arrays in `.npy` and `.npz` files."""

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
# Errors of NumPy, zip and its decompressors on damaged files and on sizes beyond the memory.
_DAMAGE = (
    OSError, EOFError, ValueError, NotImplementedError, MemoryError, OverflowError, RecursionError, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
# By array of a batch, its possible keys in a file.
KEYS = {"x": ("x", "num"), "label": ("label", "labels", "y"), "context": ("context",), "categories": ("cat",)}


def load(path: Path, arrays: Mapping[str, str] | None = None) -> Splits:
    """The splits of a file.

    A `.npy` file holds `"x"`. A `.npz` file has `x`, or `x_train` and optionally `x_valid` and `x_test`, with `label*`
    (or `labels*`, `y*`) and `context*`; missing splits are taken from the training examples (`carve`). Images, uint8 or
    boolean `[N, height, width]`, get a channel axis. uint8 data have 256 levels, or two if all values are 0 and 1.
    Classes are counted over all splits. Nothing is unpickled.

    Records have numeric columns `num_train*` in place of `x_train`, and optionally categorical ones `cat_train*`,
    integers that become `"categories"`; likewise the other splits. `num_test` is preferred to longer names.

    Args:
        arrays: further arrays of a `.npz` file, by their name in a batch: `{"label": "subject"}` for `subject_train`,
            `subject_valid` and `subject_test`.

    Raises:
        DataError: the file is missing, damaged, has other keys or Python objects, or arrays that `ArraySource` refuses.
    """
    parts = _parts(path, dict(arrays or {}))
    if "train" not in parts:
        raise DataError(f"{path} must have 'x_train', got {[f'x_{part}' for part in parts]}")
    xs = [part["x"] for part in parts.values()]
    if len({(x.dtype, x.shape[1:]) for x in xs}) > 1:
        kinds = {f"x_{name}": f"{part['x'].dtype}{list(part['x'].shape[1:])}" for name, part in parts.items()}
        raise DataError(f"{path}: splits must have the same dtype and event shape, got {kinds}")
    levels, num_classes = _levels(xs), _num_classes([part["label"] for part in parts.values() if "label" in part])
    sources = {
        name: ArraySource(part, levels=levels, name=f"{path.name} ({name})", num_classes=num_classes)
        for name, part in parts.items()
    }
    return carve(sources["train"], sources.get("valid"), sources.get("test"))


def read(path: Path) -> Arrays:
    """All arrays of a `.npz` file by their keys. Nothing is unpickled.

    Raises:
        DataError: the file is missing or damaged, holds Python objects, or is not a `.npz` file.
    """
    arrays = {}
    with _readable(str(path)), open(path, "rb") as stream:
        file = np.load(stream, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise DataError(f"{path} must be a .npz file, got one array")
        for key in file.files:
            with _readable(f"{path}: array {key!r}"):
                arrays[key] = file[key]
    return arrays


def load_named(path: Path, name: str) -> Splits:
    """The splits of the arrays `<name>_train` and optionally `<name>_valid` and `<name>_test` of a `.npz` file.

    uint8 maps [N, H, W] are grey images, or classes with the colours of the file's `palette`, uint8 [K, 3], if it has
    one. Missing splits are taken from the training examples (`carve`).

    Raises:
        DataError: as `load`.
    """
    parts = {}
    with _readable(str(path)), open(path, "rb") as stream:
        file = np.load(stream, allow_pickle=False)
        if isinstance(file, np.ndarray) or f"{name}_train" not in file:
            raise DataError(f"{path} must have an array '{name}_train', got {getattr(file, 'files', 'one array')}")
        palette = file["palette"] if "palette" in file else None
        for split in SPLITS:
            if (key := f"{name}_{split}") in file:
                with _readable(f"{path}: array {key!r}"):
                    parts[split] = _coloured(file[key], palette, f"{path}: array {key!r}")
    levels = _levels(list(parts.values()))
    sources = {
        split: ArraySource({"x": x}, levels=levels, name=f"{path.name}: {name} ({split})") for split, x in parts.items()
    }
    return carve(sources["train"], sources.get("valid"), sources.get("test"))


def _coloured(x: np.ndarray, palette: np.ndarray | None, name: str) -> np.ndarray:
    """Grey images, or with a palette the colours of maps of classes."""
    if palette is None or x.ndim != 3 or x.dtype.kind not in "iu":
        return _as_images(x)
    if x.min(initial=0) < 0 or x.max(initial=0) >= len(palette):
        raise DataError(f"{name} must be in 0..{len(palette) - 1}, the classes of `palette`, got another value")
    return palette[x]


def _parts(path: Path, further: Mapping[str, str]) -> dict[str, Arrays]:
    """Arrays by split; a file without splits is `"train"`."""
    with _readable(str(path)), open(path, "rb") as stream:
        file = np.load(stream, allow_pickle=False)
        if isinstance(file, np.ndarray):
            if further:
                raise DataError(f"{path} must be a .npz file with arrays {list(further.values())}, got one array")
            return {"train": {"x": _as_images(file)}}
        if "x" in file:
            suffixes = {"train": ""}
        else:
            suffixes = {name: f"_{name}" for name in SPLITS if f"x_{name}" in file} or _record_suffixes(path, file)
        if not suffixes:
            raise DataError(f"{path} must have an array 'x' or 'x_train', got {file.files}")
        return {name: _part(path, file, suffix, further) for name, suffix in suffixes.items()}


def _record_suffixes(path: Path, file: Mapping[str, np.ndarray]) -> dict[str, str]:
    suffixes = {}
    for name in SPLITS:
        keys = [key for key in file if key.startswith(f"num_{name}")]
        if len(keys) > 1 and f"num_{name}" not in keys:
            raise DataError(f"{path} must have one array 'num_{name}*', or 'num_{name}' itself, got {keys}")
        if keys:
            suffixes[name] = min(keys, key=len).removeprefix("num")
    return suffixes


def _part(path: Path, file: Mapping[str, np.ndarray], suffix: str, further: Mapping[str, str]) -> Arrays:
    arrays = {}
    if missing := [key + suffix for key in further.values() if key + suffix not in file]:
        raise DataError(f"{path} must have the arrays {missing}, got {list(file)}")
    for name, keys in {**KEYS, **{name: (key,) for name, key in further.items()}}.items():
        for key in (key + suffix for key in keys if key + suffix in file):
            with _readable(f"{path}: array {key!r}"):
                arrays[name] = file[key]
                if not isinstance(arrays[name], np.ndarray):
                    raise DataError(f"{path}: array {key!r} must be a .npy within the .npz")
    return {**arrays, "x": _as_images(arrays["x"])}


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turns errors of NumPy, zip and zlib into one message that begins with `name`."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{name} must be the path of a .npy or .npz file, got a file that does not exist") from None
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{name} must hold numeric arrays, got pickled Python objects, which may run code when read"
            ) from None
        raise DataError(f"{name} cannot be read as .npy or .npz: {one_line(error)}") from error


def _as_images(x: np.ndarray) -> np.ndarray:
    return x[..., None] if x.dtype in PIXELS and x.ndim == 3 else x


def _levels(xs: list[np.ndarray]) -> int | None:
    if xs[0].dtype not in PIXELS:
        return None
    return 2 if all(x.max(initial=0) <= 1 for x in xs) else 256


def _num_classes(labels: list[np.ndarray]) -> int | None:
    """`checks.num_classes_of`, or one more than the largest integer; `ArraySource` refuses other labels."""
    known = {checks.num_classes_of(label) for label in labels}
    if len(known) == 1 and None not in known:
        return known.pop()
    if not labels or any(label.dtype.kind not in "iu" or label.size == 0 for label in labels):
        return None
    return int(max(label.max() for label in labels)) + 1
