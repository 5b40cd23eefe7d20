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
"""By accepted mode of Pillow, the mode that it is converted to: bilevel to grey, palettes to RGB."""


def load(path: Path) -> Splits:
    """The splits of a folder of images, uint8 `[N, height, width, 1 or 3]` with 256 levels.

    With a subfolder `train`, it and the optional `valid` (or `val`) and `test` are the splits; otherwise all images are
    training examples. Missing splits are taken from `train` (`carve`). A split holds either images, without labels, or
    one folder per class; labels are the alphabetical indices of `train`'s folders.

    Images are grey or RGB, all of the same size; bilevel images become grey, palettes RGB, and 16-bit colours keep
    their upper 8 bits. Hidden files and files with other suffixes than `SUFFIXES` are skipped. Sets that fit into
    memory are read at once, others when a batch needs them.

    Raises:
        DataError: another layout, no images, or, when it is read, an image that is damaged, animated, transparent,
            neither grey nor RGB, or whose shape differs from the first image's.
    """
    files = open_files(path)
    sources = {
        name: RecordSource(
            part, part.fields, levels=256, name=f"{path.name} ({name})", num_classes=len(part.class_names) or None
        )
        for name, part in files.items()
    }
    return in_memory(carve(sources["train"], sources.get("valid"), sources.get("test")))


class ImageFiles(Sequence):
    """The images of a split as records, `"x"` and with classes `"label"`, each read on access.

    Args:
        paths: of the files.
        labels: indices into `class_names`; empty without classes.
        class_names: of the label's classes; empty without classes.
        like: the path of the image whose shape all must have.
    """

    def __init__(self, paths: Sequence[str], *, labels: Sequence[int], class_names: Sequence[str], like: str):
        self.paths, self.labels, self.like = paths, np.array(labels, np.int32), like
        self.class_names = tuple(class_names)
        self.shape = decode(like).shape

    @property
    def fields(self) -> dict[str, str]:
        """For `RecordSource`."""
        return {"x": "x", "label": "label"} if self.class_names else {"x": "x"}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Mapping[str, Any]:
        x = decode(self.paths[i])
        if x.shape != self.shape:
            raise DataError(
                f"{self.paths[i]} must be {_kind(self.shape)}, as {self.like}, got {_kind(x.shape)}; "
                "convert all images to the same size, and all to grey or all to RGB"
            )
        return {"x": x, "label": self.labels[i]} if self.class_names else {"x": x}


def open_files(path: Path) -> dict[str, ImageFiles]:
    """The images of each split in a folder, always with `train`; see `load`."""
    folders, images = _list(path)
    if "train" not in folders:
        where = {"train": path}
    elif others := sorted({*folders, *images} - {*SPLITS, "val"}):
        raise DataError(f"{path} must hold only 'train', 'valid' and 'test', got {others[0]!r}")
    else:
        where = {name: path / name for name in SPLITS if name in folders}
        if "val" in folders:
            where.setdefault("valid", path / "val")
    splits = {name: _split(folder) for name, folder in where.items()}
    classes = list(splits["train"])
    label_of = {name: i for i, name in enumerate(classes)}
    like = next(iter(splits["train"].values()))[0]
    files = {}
    for name, by_class in splits.items():
        if unknown := [kind for kind in by_class if kind not in label_of]:
            expected = f"{_class(*classes)}, as {where['train']}"
            raise DataError(f"{where[name]} must hold {expected}, got {_class(unknown[0])}")
        paths = [file for images in by_class.values() for file in images]
        labels = [label_of[kind] for kind, images in by_class.items() for _ in images] if classes != [""] else []
        class_names = classes if classes != [""] else ()
        files[name] = ImageFiles(paths, labels=labels, class_names=class_names, like=like)
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
                raise DataError(f"{path} must hold one frame, got {frames}")
            if image.mode not in MODES or "transparency" in image.info:
                transparent = ", transparent" if "transparency" in image.info else ""
                raise DataError(f"{path} must be opaque 8-bit grey (L) or RGB, got mode {image.mode}{transparent}")
            x = np.asarray(image if MODES[image.mode] == image.mode else image.convert(MODES[image.mode]))
    except DataError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
        raise DataError(f"{path} cannot be read as an image: {one_line(error)}") from error
    return x[..., None] if x.ndim == 2 else x


def _split(folder: Path) -> dict[str, list[str]]:
    """Paths of images by class; `""` is the class of images outside of folders."""
    folders, images = _list(folder)
    if folders and images:
        raise DataError(f"{folder} must hold either folders or images, got {folders[0]!r} and {images[0]!r}")
    if not folders:
        return {"": _paths(folder, images)}
    by_class = {}
    for name in folders:
        deeper, images = _list(folder / name)
        if deeper:
            raise DataError(f"{folder / name} is a class and must hold only images, got the folder {deeper[0]!r}")
        by_class[name] = _paths(folder / name, images)
    return by_class


def _paths(folder: Path, images: list[str]) -> list[str]:
    if not images:
        raise DataError(f"{folder} must hold images ({', '.join(SUFFIXES)}), got none")
    return [os.path.join(folder, name) for name in images]


def _list(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of the folders and images within."""
    try:
        with os.scandir(folder) as entries:
            is_dir = {entry.name: entry.is_dir() for entry in entries if not entry.name.startswith(".")}
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {one_line(error)}") from error
    names = sorted(is_dir)
    folders = [name for name in names if is_dir[name]]
    return folders, [name for name in names if not is_dir[name] and name.lower().endswith(SUFFIXES)]


def _class(*names: str) -> str:
    if names == ("",):
        return "images without classes"
    return f"the class{'es' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


def _kind(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} {'grey' if channels == 1 else 'RGB'}"
