"""Datasets by name."""

import os
from collections.abc import Callable
from functools import partial

from jaxgen.data import checks, files, image_folder, images, series, text, tfds, toys
from jaxgen.data.errors import DataError, near_misses
from jaxgen.data.splits import Splits

NAMED: dict[str, Callable[[], Splits]] = {
    "digits": images.digits,
    "patches": images.patches,
    **{name: partial(toys.toy, name) for name in toys.TOYS},
    **{name: partial(series.series, name) for name in series.SERIES},
}
"""The sets that need no file and no network."""


def source(name: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None) -> Splits:
    """Opens a dataset: its train, valid and test sources.

    Args:
        name: one of `NAMED`; a path that ends in .npy or .npz, see `jaxgen.data.files.load`, or in .txt or .txt.gz, see
            `jaxgen.data.text.load`; the path of a folder of images, see `jaxgen.data.image_folder.load`; or `tfds:<name>`,
            a set of TensorFlow Datasets that `python -m jaxgen.data.prepare <name>` has prepared, or a folder of images
            that `python -m jaxgen.data.pack <folder>` has packed.
        data_dir: where files are: relative paths start here (default: the current folder), and prepared sets lie here
            (default: ~/tensorflow_datasets).

    Raises:
        DataError: for unknown names, with the nearest ones, and for data that cannot be read or used.
    """
    name = checks.path("source", name)
    folder = checks.location("data_dir", data_dir or "")
    path = folder / os.path.expanduser(name)
    if name.endswith((*files.SUFFIXES, *text.SUFFIXES)):
        room = text if name.endswith(text.SUFFIXES) else files
        splits = room.load(path)
    elif name.startswith("tfds:"):
        splits = tfds.load(name.removeprefix("tfds:"), data_dir)
    elif name in NAMED:
        splits = NAMED[name]()
    elif name and path.is_dir():
        splits = image_folder.load(path)
    else:
        raise DataError(
            f"source {name!r} is unknown: there are {', '.join(NAMED)}, tfds:<name>, "
            f"paths that end in .npy, .npz, .txt or .txt.gz, and folders of images{near_misses(name, NAMED)}"
        )
    for split, rows in splits._asdict().items():
        rows.name = f"{path.name or name} ({split})"
    return splits
