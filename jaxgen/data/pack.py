"""Packs a folder of images into a few array_record files for `tfds:<name>`: faster than many files on slow disks.

    python -m jaxgen.data.pack path/to/photos --data-dir data
    python -m experiments.flows.glow --data tfds:photos --data-dir data

The folder has the layout of `jaxgen.data.image_folder.load`. Files are copied byte by byte, except those with a palette
and bilevel ones, which become RGB or grey PNGs.
"""

import argparse
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxgen.data import checks
from jaxgen.data.errors import DataError
from jaxgen.data.image_folder import ImageFiles, open_files
from jaxgen.data.tfds import folder_of_sets

SPLITS = {"train": "train", "valid": "validation", "test": "test"}
"""The names of splits in TensorFlow Datasets."""


def pack(
    folder: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None, name: str | None = None
) -> str:
    """Writes the set `name`, by default the folder's name, into `data_dir`; returns the name.

    Raises:
        DataError: as `jaxgen.data.image_folder.load`, for every file; an invalid or existing name.
    """
    import tensorflow_datasets as tfds

    folder = checks.location("folder", folder)
    name = name or re.sub(r"\W+", "_", folder.resolve().name.lower())
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise DataError(f"`name` must be lower-case letters, digits and _, a letter first, got {name!r}")
    files = open_files(folder)
    train = files["train"]
    features = {"image": tfds.features.Image(shape=train.shape)}
    if train.class_names:
        features["label"] = tfds.features.ClassLabel(names=train.class_names)

    class Folder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {SPLITS[split]: self._generate_examples(part) for split, part in files.items()}

        def _generate_examples(self, part: ImageFiles) -> Iterator[tuple[int, dict[str, Any]]]:
            for i in range(len(part)):
                record = part[i]  # decoded, so that invalid images raise now
                record["image"] = _encoded(part.paths[i], record.pop("x"))
                yield i, record

    Folder.name = name
    builder = Folder(data_dir=folder_of_sets(data_dir), file_format="array_record")
    if builder.is_prepared():
        raise DataError(f"{builder.data_dir} exists already: choose another --name or --data-dir")
    builder.download_and_prepare()
    return name


def _encoded(path: str, x: Any) -> io.BytesIO:
    """The file, or a PNG of the pixels x if reading the file converts its mode."""
    from PIL import Image

    with Image.open(path) as image:
        if image.mode in ("L", "RGB"):
            return io.BytesIO(Path(path).read_bytes())
    file = io.BytesIO()
    Image.fromarray(x.squeeze(-1) if x.shape[-1] == 1 else x).save(file, "PNG")
    return io.BytesIO(file.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, 2 on failure."""
    parser = argparse.ArgumentParser(prog="python -m jaxgen.data.pack", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="a folder of images")
    parser.add_argument("--data-dir", help="folder of prepared sets (default: ~/tensorflow_datasets)")
    parser.add_argument("--name", help="name of the set (default: the folder's)")
    options = parser.parse_args(arguments)
    try:
        name = pack(options.folder, options.data_dir, options.name)
    except DataError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(f"tfds:{name} is ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
