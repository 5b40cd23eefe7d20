"""Two domains, such as label maps and photographs: pairs of both, or two sets without correspondence."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.data import checks, files, image_folder, images
from jaxgen.data.arrays import ArraySource
from jaxgen.data.catalog import source
from jaxgen.data.errors import DataError
from jaxgen.data.records import RecordSource, in_memory
from jaxgen.data.sources import Source
from jaxgen.data.splits import Splits, carve
from jaxgen.data.zipped import Paired, Zipped

COLORIZATION = "colorization"
"""The name of a set that needs no files: pairs of a grey image and the same in colour."""


def domains(
    name: str | os.PathLike[str],
    names: tuple[str, str] = ("a", "b"),
    *,
    paired: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> Splits:
    """Opens two domains: splits of `Zipped` sources, or of `Paired` ones, with the parts `"a"` and `"b"`.

    Args:
        name: one of
            - `colorization`: the 32x32 crops of `patches`, grey and in colour;
            - two names or paths with a comma between them, each as in `jaxgen.data.source`;
            - a .npz file with the arrays `<names[0]>_train`, `<names[1]>_train`, ... (`jaxgen.data.files.load_named`);
            - a folder with two folders of images called as `names`, or with `trainA`, `trainB`, `testA`, `testB`;
            - if paired, a folder of images that show both domains side by side, a on the left.
        names: of the arrays or folders that become a and b.
        paired: example i of a and example i of b belong together; images in two folders must have equal file names.
        data_dir: as in `jaxgen.data.source`.

    Raises:
        DataError: data that cannot be read, of another layout, or pairs that do not match.
    """
    name = checks.path("domains", name)
    path = checks.data_path(name, data_dir)
    if name == COLORIZATION:
        parts = _colorization()
    elif name.count(",") == 1:
        parts = tuple(source(one.strip(), data_dir) for one in name.split(","))
    elif name.endswith(files.SUFFIXES):
        parts = tuple(files.load_named(path, one) for one in names)
    elif path.is_dir():
        parts = _folders(path, names, paired)
    else:
        raise DataError(
            f"`domains` must be {COLORIZATION!r}, two sources 'one,two', the path of a .npz file or of a folder of "
            f"images, got {name!r}"
        )
    kind = Paired if paired else Zipped
    return Splits(*(kind(dict(zip("ab", pair, strict=True))) for pair in zip(*parts, strict=True)))


def _colorization() -> tuple[Splits, Splits]:
    colour = images.patches()

    def grey(split: Source) -> ArraySource:
        x = split.arrays["x"].mean(-1, keepdims=True).round().astype(np.uint8)
        return ArraySource({"x": x}, levels=256, name="grey patches")

    return Splits(*map(grey, colour)), colour


def _folders(path: Path, names: tuple[str, str], paired: bool) -> tuple[Splits, Splits]:
    found = set(os.listdir(path))
    if found >= {"trainA", "trainB"}:
        opened = [_lettered(path, letter, found) for letter in "AB"]
    elif found >= set(names):
        opened = [image_folder.open_files(path / one) for one in names]
    elif paired:
        whole = image_folder.open_files(path)
        opened = [{split: Half(part, side) for split, part in whole.items()} for side in range(2)]
    else:
        raise DataError(f"{path} must hold the folders {names[0]!r} and {names[1]!r}, or 'trainA' and 'trainB'")
    if paired:
        for split in opened[0]:
            stems = [[Path(file).stem for file in part[split].paths] if split in part else None for part in opened]
            if stems[0] != stems[1]:
                raise DataError(f"{path}: images of a pair must have equal file names in both folders ({split})")
    return tuple(_splits(part, f"{path.name}: {one}") for part, one in zip(opened, names, strict=True))


def _lettered(path: Path, letter: str, found: set[str]) -> dict[str, image_folder.ImageFiles]:
    """The splits of one domain in the layout of CycleGAN's data sets: `trainA`, `testA`, and optionally `validA`."""
    parts, like = {}, None
    for split in files.SPLITS:
        if f"{split}{letter}" in found:
            one = image_folder.open_files(path / f"{split}{letter}")["train"]
            like = like or one.like
            parts[split] = image_folder.ImageFiles(one.paths, labels=(), class_names=(), like=like)
    return parts


def _splits(parts: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> Splits:
    sources = {
        split: RecordSource(part, {"x": "x"}, levels=256, name=f"{name} ({split})") for split, part in parts.items()
    }
    return in_memory(carve(sources["train"], sources.get("valid"), sources.get("test")))


class Half(Sequence):
    """The left (side 0) or right (side 1) halves of images, as records.

    Raises:
        DataError: the width is odd.
    """

    def __init__(self, whole: image_folder.ImageFiles, side: int):
        if whole.shape[1] % 2:
            raise DataError(f"{whole.like} must have an even width to show two domains, got {whole.shape[1]}")
        self.whole, self.paths, width = whole, whole.paths, whole.shape[1] // 2
        self.columns = slice(side * width, (side + 1) * width)

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, i: int) -> Mapping[str, Any]:
        return {"x": self.whole[i]["x"][:, self.columns]}
