"""A folder of image files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.data.errors import DataError, one_line
from jaxgen.data.files import SPLITS
from jaxgen.data.records import RecordSource, in_memory
from jaxgen.data.splits import Splits, carve

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
MODES = {"L": "L", "RGB": "RGB", "1": "L", "P": "RGB"}
"""Pillow's modes that can be read, and what they become: bilevel images grey, those with a palette RGB."""


def load(path: Path) -> Splits:
    """The splits of a folder of images, uint8 `[rows, height, width, 1 or 3]` of 256 levels.

    Where there is a subfolder `train`, it, `valid` and `test` are splits; else all images are training rows. Missing
    splits are taken from those, `carve`. In a split images either lie flat, without labels, or in one folder a class:
    labels number the names of `train`'s in alphabetical order.

    Images are grey or RGB, all of one size; bilevel ones become grey, those with a palette RGB, and of 16 bits a colour
    Pillow keeps the upper 8. Hidden files and files whose names end in none of `SUFFIXES` are passed over. What fits
    into memory is read at once, other images when a batch asks for them.

    Raises:
        DataError: for folders of another layout or without images, and, when it is met, for a file that is damaged, of
            several frames, transparent or otherwise neither grey nor RGB, or that differs from the first image.
    """
    files = open_files(path)
    sources = {
        name: RecordSource(
            part, part.fields, levels=256, name=f"{path.name} ({name})", classes=len(part.classes) or None
        )
        for name, part in files.items()
    }
    return in_memory(carve(sources["train"], sources.get("valid"), sources.get("test")))


class ImageFiles(Sequence):
    """The images of a split as records, `"x"` and where there are classes `"label"`; each is read when asked for.

    Args:
        paths: of the files.
        labels: of each, its number among `classes`; empty where there are none.
        classes: their names.
        like: the image whose shape all must have.
    """

    def __init__(self, paths: Sequence[str], labels: Sequence[int], classes: Sequence[str], like: str):
        self.paths, self.labels, self.classes, self.like = paths, np.array(labels, np.int32), tuple(classes), like
        self.shape = decode(like).shape

    @property
    def fields(self) -> dict[str, str]:
        """Those of a `RecordSource`."""
        return {"x": "x", "label": "label"} if self.classes else {"x": "x"}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Mapping[str, Any]:
        x = decode(self.paths[i])
        if x.shape != self.shape:
            raise DataError(
                f"{self.paths[i]} is {_kind(x.shape)}: {_kind(self.shape)}, as {self.like}, is needed; "
                "bring all images to one size, and all to grey or all to RGB"
            )
        return {"x": x, "label": self.labels[i]} if self.classes else {"x": x}


def open_files(path: Path) -> dict[str, ImageFiles]:
    """The images of each split that a folder has, `train` among them; see `load`."""
    folders, images = _list(path)
    if "train" not in folders:
        where = {"train": path}
    elif others := sorted({*folders, *images} - set(SPLITS)):
        raise DataError(f"{path} holds {others[0]!r} beside 'train': there, only 'valid' and 'test' may be")
    else:
        where = {name: path / name for name in SPLITS if name in folders}
    found = {name: _split(folder) for name, folder in where.items()}
    classes = list(found["train"])
    numbers = {name: i for i, name in enumerate(classes)}
    like = next(iter(found["train"].values()))[0]
    files = {}
    for name, by_class in found.items():
        if unknown := [kind for kind in by_class if kind not in numbers]:
            raise DataError(f"{where[name]} holds {_class(unknown[0])}: {where['train']} holds {_class(*classes)}")
        paths = [file for images in by_class.values() for file in images]
        labels = [numbers[kind] for kind, images in by_class.items() for _ in images] if classes != [""] else []
        files[name] = ImageFiles(paths, labels, classes if classes != [""] else (), like)
    return files


def decode(path: str) -> np.ndarray:
    """An image, uint8 `[height, width, 1 or 3]`.

    Raises:
        DataError: naming the file.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if (frames := getattr(image, "n_frames", 1)) > 1:
                raise DataError(f"{path} holds {frames} frames: one is needed")
            if image.mode not in MODES or "transparency" in image.info:
                also = ", is transparent" if "transparency" in image.info else ""
                raise DataError(f"{path} has mode {image.mode}{also}: opaque grey (L) or RGB of 8 bits is needed")
            x = np.asarray(image if MODES[image.mode] == image.mode else image.convert(MODES[image.mode]))
    except DataError:
        raise
    except Exception as error:  # Pillow's are OSError, SyntaxError, ValueError, struct.error, ...
        raise DataError(f"{path} cannot be read as an image: {one_line(error)}") from error
    return x[..., None] if x.ndim == 2 else x


def _split(folder: Path) -> dict[str, list[str]]:
    """Paths of images by class, or all under `""` where they lie flat."""
    folders, images = _list(folder)
    if folders and images:
        raise DataError(f"{folder} holds folders, {folders[0]!r}, and images, {images[0]!r}: either is needed alone")
    if not folders:
        return {"": _paths(folder, images)}
    by_class = {}
    for name in folders:
        deeper, images = _list(folder / name)
        if deeper:
            raise DataError(f"{folder / name} holds a folder, {deeper[0]!r}: a class is a folder of images alone")
        by_class[name] = _paths(folder / name, images)
    return by_class


def _paths(folder: Path, images: list[str]) -> list[str]:
    if not images:
        raise DataError(f"{folder} holds no image: files that end in {', '.join(SUFFIXES)} are needed")
    return [os.path.join(folder, name) for name in images]


def _list(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the images within, sorted."""
    try:
        with os.scandir(folder) as entries:
            seen = {entry.name: entry.is_dir() for entry in entries if not entry.name.startswith(".")}
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {one_line(error)}") from error
    names = sorted(seen)
    folders = [name for name in names if seen[name]]
    return folders, [name for name in names if not seen[name] and name.lower().endswith(SUFFIXES)]


def _class(*names: str) -> str:
    if names == ("",):
        return "images without classes"
    return f"the class{'es' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


def _kind(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} {'grey' if channels == 1 else 'RGB'}"
