"""TensorFlow Datasets without TensorFlow: sets prepared in a format with random access."""

from __future__ import annotations

import os
import shlex
from typing import Any

import numpy as np

from jaxgen.data import checks
from jaxgen.data.errors import DataError, near_misses, one_line
from jaxgen.data.records import RecordSource, in_memory
from jaxgen.data.splits import Splits, carve

LEVELS = {np.dtype(np.uint8): 256, np.dtype(np.uint16): 65536}


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Splits:
    """The splits of `tfds:<name>`, where `name` is `dataset`, `dataset/config` or `dataset:version`.

    The image, or the only tensor of a set without images, is `"x"`; the feature `label` is `"label"`. The set's own
    `validation` and `test` splits are used; missing ones are taken from `train` (`carve`).

    Raises:
        DataError: an unknown name, a set that is not prepared in `data_dir`, or features without such an `"x"`.
    """
    data_dir = folder_of_sets(data_dir)
    builder = open_builder(name, data_dir)
    try:
        records = builder.as_data_source()
    except NotImplementedError:  # not prepared at all, or as tfrecord
        raise DataError(_unprepared(name, builder, data_dir)) from None
    if "train" not in records:
        raise DataError(f"tfds:{name} must have a split 'train', got {sorted(records)}")

    features = builder.info.features
    fields = _fields(name, features)
    levels = LEVELS.get(np.dtype(features[fields["x"]].np_dtype))
    num_classes = getattr(features[fields["label"]], "num_classes", None) if "label" in fields else None
    train, valid, test = (
        RecordSource(records[split], fields, levels=levels, name=f"tfds:{name} ({split})", num_classes=num_classes)
        if split in records
        else None
        for split in ("train", "validation", "test")
    )
    return in_memory(carve(train, valid, test))


def folder_of_sets(data_dir: str | os.PathLike[str] | None) -> str | None:
    """An absolute path, with `~` expanded; addresses such as `gs://...` are returned unchanged."""
    if data_dir is None or "://" in (path := checks.path("data_dir", data_dir)):
        return data_dir
    return str(checks.location("data_dir", path))


def open_builder(name: str, data_dir: str | None, **options: Any) -> Any:
    """`tfds.builder(name, data_dir=data_dir, **options)`.

    Raises:
        DataError: the name is unknown or invalid.
    """
    import tensorflow_datasets as tfds  # takes half a second, so only when needed

    if not name or name.startswith("huggingface:"):  # the latter would access the network
        raise DataError(f"a set must be named tfds:dataset, tfds:dataset/config or tfds:dataset:1.0.0, got tfds:{name}")
    try:
        return tfds.builder(name, data_dir=data_dir, **options)
    except tfds.core.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        raise DataError(
            f"tfds:{name} is unknown to TensorFlow Datasets and not prepared in {data_dir or _default_dir()}"
            f"{near_misses(name, known)}"
        ) from None
    except Exception as error:  # an invalid config, version or spelling: ValueError, AssertionError, RuntimeError, ...
        raise DataError(f"tfds:{name} cannot be opened: {one_line(error)}") from error


def _fields(name: str, features: Any) -> dict[str, str]:
    """The features of `"x"` and of the label."""
    from tensorflow_datasets.core.features import Image, Tensor

    features = dict(features)
    images = [key for key, feature in features.items() if isinstance(feature, Image)]
    tensors = [key for key, feature in features.items() if type(feature) is Tensor and key != "label"]
    x = next((keys[0] for keys in (images, tensors) if len(keys) == 1), None)
    if x is None:
        x = next((key for key in ("x", "image") if key in images + tensors), None)
    if x is None:
        raise DataError(f"tfds:{name} must have one image or one tensor, got features {sorted(features)}")
    return {"x": x, "label": "label"} if "label" in features else {"x": x}


def _unprepared(name: str, builder: Any, data_dir: str | None) -> str:
    where = data_dir or _default_dir()
    if builder.is_prepared():
        state = f"is prepared under {where} as {builder.info.file_format.value}, which only TensorFlow reads"
        target = f" --data-dir {shlex.quote(f'{where}-array-record')}"
    else:
        state = f"is not prepared under {where}"
        target = f" --data-dir {shlex.quote(data_dir)}" if data_dir else ""
    return f'tfds:{name} {state}: run `python -m jaxgen.data.prepare {name}{target}` after `pip install "jaxgen[tf]"`'


def _default_dir() -> str:
    return os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
