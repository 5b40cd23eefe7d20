"""Packs a folder of images into a few array_record files, which `tfds:<name>` reads: for slow disks with many files.

    python -m jaxgen.data.pack path/to/photos --data-dir data
    python -m experiments.flows.glow --data tfds:photos --data-dir data

The folder is one that `--data` takes: `jaxgen.data.image_folder.load`. Files are kept as they are, byte by byte, but for
those with a palette and bilevel ones, which become PNGs without.
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
"""By our names, those of TensorFlow Datasets."""


def pack(folder: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None, name: str | None = None) -> str:
    """Writes a set `name`, by default the folder's, into `data_dir`; returns that name.

    Raises:
        DataError: as `jaxgen.data.image_folder.load`, for every file; for a name that is taken or cannot be one.
    """
    import tensorflow_datasets as tfds

    folder = checks.location("folder", folder)
    name = name or re.sub(r"\W+", "_", folder.resolve().name.lower())
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise DataError(f"name {name!r} was given: small letters, digits and _, a letter first, are needed")
    files = open_files(folder)
    train = files["train"]
    features = {"image": tfds.features.Image(shape=train.shape)}
    if train.classes:
        features["label"] = tfds.features.ClassLabel(names=train.classes)

    class Folder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {SPLITS[split]: self._generate_examples(part) for split, part in files.items()}

        def _generate_examples(self, part: ImageFiles) -> Iterator[tuple[int, dict[str, Any]]]:
            for i in range(len(part)):
                row = part[i]  # decoded, so that what is wrong is found now
                row["image"] = _encoded(part.paths[i], row.pop("x"))
                yield i, row

    Folder.name = name
    builder = Folder(data_dir=folder_of_sets(data_dir), file_format="array_record")
    if builder.is_prepared():
        raise DataError(f"{builder.data_dir} is there already: another --name or --data-dir is needed")
    builder.download_and_prepare()
    return name


def _encoded(path: str, x: Any) -> io.BytesIO:
    """The file, or where its mode is not that of its pixels a PNG of them."""
    from PIL import Image

    with Image.open(path) as image:
        if image.mode in ("L", "RGB"):
            return io.BytesIO(Path(path).read_bytes())
    file = io.BytesIO()
    Image.fromarray(x.squeeze(-1) if x.shape[-1] == 1 else x).save(file, "PNG")
    return io.BytesIO(file.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 where nothing could be packed."""
    parser = argparse.ArgumentParser(prog="python -m jaxgen.data.pack", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="a folder of images")
    parser.add_argument("--data-dir", help="where sets are kept (default: ~/tensorflow_datasets)")
    parser.add_argument("--name", help="of the set (default: the folder's)")
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
