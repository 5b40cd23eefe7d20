"""Checks of arrays, numbers and paths: numeric, finite, in range, and converted to the dtypes that JAX uses."""

import operator
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.data.errors import DataError

INT32 = np.iinfo(np.int32)
MAX_SEED = 2**32 - 1
MAX_CHARACTERS = 400
"""The greatest length of a name or path."""


def whole(name: str, value: Any, least: int = 0) -> int:
    """`value` as an int.

    Raises:
        DataError: `value` is not an integer >= `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise DataError(f"{name} must be an integer >= {least}, got {value!r}")
    return number


def seed(value: Any, name: str = "seed") -> int:
    """`value` as an int in 0 .. 2^32 - 1: `jax.random.key` drops the bits beyond, so two seeds would share a key.

    Raises:
        DataError: `value` is not such an integer.
    """
    number = whole(name, value)
    if number > MAX_SEED:
        raise DataError(f"{name} must be an integer <= {MAX_SEED} (2^32 - 1), got {value!r:.80}")
    return number


def numeric(values: Any, name: str) -> np.ndarray:
    """An array of a dtype that JAX uses: floats become float32, booleans uint8, 64-bit integers int32.

    Raises:
        DataError: beginning with `name`: objects, strings, complex numbers, ragged lists, or integers beyond int32.
    """
    if np.ma.is_masked(values):
        raise DataError(f"{name} must not have masked values")
    array = as_array(values, name)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} must be floats, integers or booleans, got {array.dtype}")
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, which `finite` refuses
            return array.astype(np.float32, copy=False)
    if array.dtype.itemsize == 8:
        if array.size and (array.min() < INT32.min or array.max() > INT32.max):
            raise DataError(f"{name} must fit int32, got integers from {array.min()} to {array.max()}")
        return array.astype(np.int32)
    return array


def path(name: str, value: Any) -> str:
    """A name or path as a string that is valid for a file system.

    Raises:
        DataError: beginning with `name`.
    """
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else value
    if not isinstance(text, str):
        raise DataError(f"{name} must be a name or a path, got {value!r:.80}")
    if len(text) > MAX_CHARACTERS or "\0" in text:
        raise DataError(f"{name} must have at most {MAX_CHARACTERS} characters, without NUL, got {text!r:.80}")
    return text


def location(name: str, value: Any) -> Path:
    """An absolute path: `~` is expanded, and a relative path starts at the current folder.

    Raises:
        DataError: beginning with `name`.
    """
    text = path(name, value)
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # an unknown user
        raise DataError(f"{name} must begin with an existing user's home folder, got {text!r:.80}") from None


def data_path(name: str | os.PathLike[str], data_dir: Any) -> Path:
    """An absolute path, relative to `data_dir` or, without one, to the current folder; `~` is expanded in both.

    Raises:
        DataError: beginning with `data_dir`.
    """
    return location("data_dir", data_dir or "") / os.path.expanduser(name)


def as_array(values: Any, name: str) -> np.ndarray:
    """Raises:
    DataError: beginning with `name`: NumPy cannot convert the values.
    """
    try:
        return np.asarray(values)
    except ValueError:
        raise DataError(f"{name} must have examples of the same shape, got a ragged list") from None
    except TypeError:  # random keys of JAX
        raise DataError(f"{name} must be floats, integers or booleans, got {type(values).__name__}") from None


def finite(array: np.ndarray, name: str, indices: np.ndarray | None = None) -> None:
    """Raises:
    DataError: beginning with `name` and naming the first example that is not finite.
    """
    if array.dtype.kind == "f":
        _refuse(~np.isfinite(array), f"{name} must be finite in float32, got NaN or infinity", indices)


def check_indices(indices: Any, name: str, n: int) -> np.ndarray:
    """Indices of a source with `n` examples, as an array.

    Raises:
        DataError: not a nonempty, one-dimensional array of integers 0 .. `n` - 1.
    """
    array = as_array(indices, f"{name}: indices")
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size or array.min() < 0 or array.max() >= n:
        raise DataError(f"{name}: indices must be some of 0..{n - 1}, [B], got {array.dtype}{list(array.shape)}")
    return array


def batch(
    arrays: Mapping[str, Any],
    name: str,
    levels: int | None,
    num_classes: int | None,
    indices: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Checked arrays that share their first axis; labels [N], [N, 1] or one-hot become int32 [N].

    Args:
        arrays: `"x"`, and optionally `"label"`, `"context"` and others.
        name: the source's, which begins each message.
        levels: integer values of `"x"` must be 0 .. `levels` - 1.
        num_classes: labels must be 0 .. `num_classes` - 1.
        indices: of the examples in their source, for messages; None: 0, 1, ...

    Raises:
        DataError: naming the array, and the first example with an invalid value.
    """
    if not isinstance(arrays, Mapping):
        raise DataError(f"{name} must be a mapping of arrays with an 'x', got {type(arrays).__name__}")
    if "x" not in arrays:
        raise DataError(f"{name} must have an array 'x', got {sorted(map(str, arrays))}")
    checked = {key: numeric(values, f"{name}: array {key!r}") for key, values in arrays.items()}
    for key, array in checked.items():
        if array.ndim == 0 or array.size == 0:
            raise DataError(f"{name}: array {key!r} must have at least one example and value, got shape {array.shape}")
        finite(array, f"{name}: array {key!r}", indices)
    if len({len(array) for array in checked.values()}) > 1:
        lengths = {key: len(array) for key, array in checked.items()}
        raise DataError(f"{name}: arrays must have the same length, got {lengths}")
    x, label = checked["x"], checked.get("label")
    if levels is not None:
        if x.dtype.kind == "f":
            raise DataError(f"{name}: array 'x' must be integers or levels None, got {x.dtype} with levels={levels}")
        if x.dtype.kind == "i" or np.iinfo(x.dtype).max >= levels:
            message = f"{name}: array 'x' must be in 0..{levels - 1} (levels={levels}), got another value"
            _refuse((x < 0) | (x >= levels), message, indices)
    if label is not None:
        checked["label"] = _labels(label, f"{name}: array 'label'", num_classes, indices)
    return checked


def num_classes_of(label: Any) -> int | None:
    """The number of classes known from dtype or shape: 2 for booleans, the columns of one-hot labels, else None."""
    shape = np.shape(label)
    if len(shape) == 2 and shape[1] > 1:
        return shape[1]
    return 2 if np.asarray(label).dtype == bool else None


def _labels(label: np.ndarray, name: str, num_classes: int | None, indices: np.ndarray | None) -> np.ndarray:
    """int32 [N], from integers [N] or [N, 1], or one-hot numbers [N, K].

    Raises:
        DataError: beginning with `name`.
    """
    if label.ndim == 2 and label.shape[1] == 1:
        label = label[:, 0]
    if label.ndim == 2:
        one_hot = ((label == 0) | (label == 1)).all(1) & (label.sum(1) == 1)
        if not one_hot.all() or (num_classes is not None and label.shape[1] != num_classes):
            columns = "num_classes" if num_classes is None else str(num_classes)
            raise DataError(
                f"{name} must be integers [N] or one-hot [N, {columns}], got shape {label.shape}; name several values "
                "per example 'context'"
            )
        return label.argmax(1).astype(np.int32)
    if label.ndim > 2:
        raise DataError(f"{name} must be one integer per example, [N], got shape {label.shape}")
    if label.dtype.kind == "f":
        raise DataError(
            f"{name} must be integers, got {label.dtype}; convert classes by `.astype(int)`, name real values 'context'"
        )
    if num_classes is not None:
        message = f"{name} must be in 0..{num_classes - 1} (num_classes={num_classes}), got another value"
        _refuse((label < 0) | (label >= num_classes), message, indices)
    return label.astype(np.int32, copy=False)


def _refuse(invalid: np.ndarray, message: str, indices: np.ndarray | None) -> None:
    """Raises at the first example with an invalid value."""
    if invalid.any():
        i = int(invalid.reshape(len(invalid), -1).any(axis=1).argmax())
        raise DataError(f"{message} in example {i if indices is None else indices[i]}")
