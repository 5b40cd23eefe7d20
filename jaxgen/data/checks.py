"""What arrays must be before they may train anything: numeric, finite, in range, of the types that JAX computes in."""

import operator
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.data.errors import DataError

INT32 = np.iinfo(np.int32)
LONGEST = 400
"""Characters of a name or path."""


def whole(name: str, value: Any, least: int = 0) -> int:
    """`value` as an int of at least `least`.

    Raises:
        DataError: naming `name`, where it is no whole number or a smaller one.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise DataError(f"{name} is {value!r}: a whole number of at least {least} is needed")
    return number


def numeric(values: Any, what: str) -> np.ndarray:
    """An array in a type that JAX computes in: floats become float32, booleans uint8, 64-bit integers int32.

    Raises:
        DataError: beginning with `what`, for objects, strings, complex numbers, ragged lists, and integers that
            int32 cannot hold.
    """
    if np.ma.is_masked(values):
        raise DataError(f"{what} is masked: without its masked values it is another array")
    array = as_array(values, what)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} has dtype {array.dtype}: floats, integers or booleans are needed")
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
            return array.astype(np.float32, copy=False)
    if array.dtype.itemsize == 8:
        if array.size and (array.min() < INT32.min or array.max() > INT32.max):
            raise DataError(f"{what} holds integers from {array.min()} to {array.max()}: int32 is needed")
        return array.astype(np.int32)
    return array


def path(what: str, value: Any) -> str:
    """A name or path as text that a file system takes.

    Raises:
        DataError: beginning with `what`.
    """
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else value
    if not isinstance(text, str):
        raise DataError(f"{what} is {value!r:.80}: a name or a path is needed")
    if len(text) > LONGEST or "\0" in text:
        raise DataError(f"{what} is {text!r:.80}: at most {LONGEST} characters, none of them NUL, are needed")
    return text


def location(what: str, value: Any) -> Path:
    """An absolute path: `~` is expanded, and a relative path starts at the folder that is current now.

    Raises:
        DataError: beginning with `what`.
    """
    given = path(what, value)
    try:
        return Path(given).expanduser().absolute()
    except RuntimeError:  # a user that does not exist
        raise DataError(f"{what} must begin with an existing user's home folder, got {given!r:.80}") from None


def as_array(values: Any, what: str) -> np.ndarray:
    """Raises:
    DataError: beginning with `what`, for what NumPy makes no array of.
    """
    try:
        return np.asarray(values)
    except ValueError:
        raise DataError(f"{what} is ragged: rows of one shape are needed") from None
    except TypeError:  # random keys of JAX
        raise DataError(f"{what} is {type(values).__name__}: floats, integers or booleans are needed") from None


def finite(array: np.ndarray, what: str, rows: np.ndarray | None = None) -> None:
    """Raises:
    DataError: beginning with `what`, and naming the first row that is not finite.
    """
    if array.dtype.kind == "f":
        _refuse(~np.isfinite(array), f"{what} is NaN or infinite in float32", rows)


def numbers_of_rows(indices: Any, name: str, n: int) -> np.ndarray:
    """Numbers of rows of a source that has `n` of them: integers in one axis.

    Raises:
        DataError: others, or none.
    """
    array = as_array(indices, f"{name}: rows")
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size or array.min() < 0 or array.max() >= n:
        raise DataError(f"{name}: rows are {array.dtype}{list(array.shape)}: some of 0..{n - 1} are needed")
    return array


def batch(
    arrays: Mapping[str, Any], name: str, levels: int | None, classes: int | None, rows: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Checked arrays that share their first axis; labels become int32.

    Args:
        arrays: `"x"`, and where there are any `"label"`, `"context"` and others.
        name: of the source, which begins each message.
        levels: integer values of `"x"` must be 0 .. `levels` - 1.
        classes: labels must be 0 .. `classes` - 1.
        rows: the numbers of the rows in their source, for messages; by default they count from 0.

    Raises:
        DataError: naming the array, and its first bad row where a value is at fault.
    """
    if not isinstance(arrays, Mapping):
        raise DataError(f"{name} is {type(arrays).__name__}: a mapping of arrays, with an 'x', is needed")
    if "x" not in arrays:
        raise DataError(f"{name} has arrays {sorted(map(str, arrays))}: an array 'x' is needed")
    checked = {key: numeric(values, f"{name}: array {key!r}") for key, values in arrays.items()}
    for key, array in checked.items():
        if array.ndim == 0 or array.size == 0:
            raise DataError(f"{name}: array {key!r} has shape {array.shape}: at least one row is needed")
        finite(array, f"{name}: array {key!r}", rows)
    if len({len(array) for array in checked.values()}) > 1:
        lengths = {key: len(array) for key, array in checked.items()}
        raise DataError(f"{name}: arrays differ in length, {lengths}: the first axis must be shared")
    x, label = checked["x"], checked.get("label")
    if levels is not None:
        if x.dtype.kind == "f":
            raise DataError(f"{name}: array 'x' is {x.dtype} with levels={levels}: integers or levels=None are needed")
        if x.dtype.kind == "i" or np.iinfo(x.dtype).max >= levels:
            _refuse((x < 0) | (x >= levels), f"{name}: array 'x' leaves 0..{levels - 1}, its {levels} levels,", rows)
    if label is not None:
        if label.dtype.kind == "f":
            raise DataError(f"{name}: array 'label' is {label.dtype}: integers are needed (real values are 'context')")
        if classes is not None:
            outside = (label < 0) | (label >= classes)
            _refuse(outside, f"{name}: array 'label' leaves 0..{classes - 1}, its {classes} classes,", rows)
        checked["label"] = label.astype(np.int32, copy=False)
    return checked


def _refuse(bad: np.ndarray, what: str, rows: np.ndarray | None) -> None:
    """Raises at the first row with a bad value."""
    if bad.any():
        row = int(bad.reshape(len(bad), -1).any(axis=1).argmax())
        raise DataError(f"{what} first in row {row if rows is None else rows[row]}")
