"""Datasets by name."""

import os
from collections.abc import Callable, Mapping
from functools import partial

from jaxgen.data import bits, checks, files, image_folder, images, series, text, tfds, toys
from jaxgen.data.errors import DataError, near_misses
from jaxgen.data.splits import Splits

NAMED: dict[str, Callable[[], Splits]] = {
    "digits": images.digits,
    "patches": images.patches,
    "bit_patterns": bits.bit_patterns,
    **{name: partial(toys.toy, name) for name in toys.TOYS},
    **{name: partial(series.series, name) for name in series.SERIES},
}
"""The sets that need neither files nor network."""


def source(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    arrays: Mapping[str, str] | None = None,
    window: int = text.WINDOW,
) -> Splits:
    """Opens a dataset: its train, valid and test sources.

    Args:
        name: one of `NAMED`; the path of a .npy or .npz file (`jaxgen.data.files.load`), a .txt or .txt.gz file
            (`jaxgen.data.text.load`) or a folder of images (`jaxgen.data.image_folder.load`); or `tfds:<name>`, a set
            of TensorFlow Datasets prepared by `python -m jaxgen.data.prepare <name>`, or a folder of images packed by
            `python -m jaxgen.data.pack <folder>`.
        data_dir: the folder of relative paths (default: the current one) and of prepared sets (default:
            ~/tensorflow_datasets).
        arrays: further arrays of a .npz file by their name in a batch: `{"label": "subject"}`.
        window: characters of an example of a text.

    Raises:
        DataError: an unknown name (the message suggests similar ones), or data that cannot be read or used.
    """
    name = checks.path("source", name)
    folder = checks.location("data_dir", data_dir or "")
    path = folder / os.path.expanduser(name)
    if arrays and not name.endswith(files.SUFFIXES):
        raise DataError(f"`arrays` must be empty for data other than .npz files, got {dict(arrays)} for {name!r}")
    if name.endswith((*files.SUFFIXES, *text.SUFFIXES)):
        splits = text.load(path, window) if name.endswith(text.SUFFIXES) else files.load(path, arrays)
    elif name.startswith("tfds:"):
        splits = tfds.load(name.removeprefix("tfds:"), data_dir)
    elif name in NAMED:
        splits = NAMED[name]()
    elif name and path.is_dir():
        splits = image_folder.load(path)
    else:
        raise DataError(
            f"`source` must be one of {', '.join(NAMED)}, tfds:<name>, the path of a .npy, .npz, .txt or .txt.gz file, "
            f"or a folder of images, got {name!r}{near_misses(name, NAMED)}"
        )
    for split, part in splits._asdict().items():
        part.name = f"{path.name or name} ({split})"
    return splits
