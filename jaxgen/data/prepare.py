"""Downloads a set of TensorFlow Datasets and writes it as array_record, which `tfds:<name>` reads without TensorFlow.

    python -m jaxgen.data.prepare mnist --data-dir ~/tensorflow_datasets

Runs once, on any machine; needs the extra `tf`: `pip install "jaxgen[tf]"`.
"""

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence

from jaxgen.data.errors import DataError
from jaxgen.data.tfds import folder_of_sets, open_builder


def prepare(name: str, data_dir: str | os.PathLike[str] | None = None) -> str:
    """Downloads and prepares `name` as array_record; returns the folder, `data_dir/name/version`.

    Raises:
        DataError: TensorFlow is missing, the name is unknown, or the folder holds the set in another format.
    """
    if missing := [module for module in ("tensorflow", "importlib_resources") if not importlib.util.find_spec(module)]:
        raise DataError(f'preparing {name} needs {" and ".join(missing)}: run `pip install "jaxgen[tf]"`')
    data_dir = folder_of_sets(data_dir)
    if (kept := open_builder(name, data_dir)).is_prepared() and kept.info.file_format.value != "array_record":
        raise DataError(f"{kept.data_dir} holds {name} as {kept.info.file_format.value}: choose another --data-dir")
    builder = open_builder(name, data_dir, file_format="array_record")
    builder.download_and_prepare()
    return str(builder.data_dir)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, 2 on failure."""
    parser = argparse.ArgumentParser(prog="python -m jaxgen.data.prepare", description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a set of TensorFlow Datasets: mnist, cifar10, imagenet_resized/32x32, ...")
    parser.add_argument("--data-dir", help="folder of prepared sets (default: ~/tensorflow_datasets)")
    options = parser.parse_args(arguments)
    name = options.name.removeprefix("tfds:")
    try:
        folder = prepare(name, options.data_dir)
    except DataError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    if hasattr(sys.stdout, "reconfigure"):  # the terminal may not be able to show the folder's name
        sys.stdout.reconfigure(errors="backslashreplace")
    print(f"tfds:{name} is ready in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
