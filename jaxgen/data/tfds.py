"""TensorFlow Datasets, without TensorFlow: any set that was prepared in a format with random access."""

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

    The image, or where there is none the only tensor, is `"x"`; a feature `label` is `"label"`. The set's own `test`
    and `validation` splits are used, and missing ones taken from `train`, see `carve`.

    Raises:
        DataError: for unknown names, sets that are not prepared in `data_dir`, or of features that are no batch.
    """
    data_dir = folder_of_sets(data_dir)
    builder = open_builder(name, data_dir)
    try:
        records = builder.as_data_source()
    except NotImplementedError:  # not prepared at all, or as tfrecord
        raise DataError(_unprepared(name, builder, data_dir)) from None
    if "train" not in records:
        raise DataError(f"tfds:{name} has splits {sorted(records)}: a split 'train' is needed")

    features = builder.info.features
    fields = _fields(name, features)
    levels = LEVELS.get(np.dtype(features[fields["x"]].np_dtype))
    classes = getattr(features[fields["label"]], "num_classes", None) if "label" in fields else None
    train, valid, test = (
        RecordSource(records[split], fields, levels=levels, name=f"tfds:{name} ({split})", classes=classes)
        if split in records
        else None
        for split in ("train", "validation", "test")
    )
    return in_memory(carve(train, valid, test))


def folder_of_sets(data_dir: str | os.PathLike[str] | None) -> str | None:
    """An absolute path, with `~` expanded; an address such as `gs://...` as it is."""
    if data_dir is None or "://" in (given := checks.path("data_dir", data_dir)):
        return data_dir
    return str(checks.location("data_dir", given))


def open_builder(name: str, data_dir: str | None, **options: Any) -> Any:
    """`tfds.builder(name, data_dir=data_dir, **options)`.

    Raises:
        DataError: whatever is wrong with the name.
    """
    import tensorflow_datasets as tfds  # half a second: not before it is needed

    if not name or name.startswith("huggingface:"):  # the latter would reach for the network
        raise DataError(f"tfds:{name} is not a name: tfds:dataset, tfds:dataset/config or tfds:dataset:1.0.0 is")
    try:
        return tfds.builder(name, data_dir=data_dir, **options)
    except tfds.core.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        raise DataError(
            f"tfds:{name} is unknown: neither TensorFlow Datasets has it, nor is it prepared under "
            f"{data_dir or _default_dir()}{near_misses(name, known)}"
        ) from None
    except Exception as error:  # a bad config, version or spelling: ValueError, AssertionError, RuntimeError, ...
        raise DataError(f"tfds:{name} cannot be opened: {one_line(error)}") from error


def _fields(name: str, features: Any) -> dict[str, str]:
    """Which feature is `"x"`, and which the label."""
    from tensorflow_datasets.core.features import Image, Tensor

    features = dict(features)
    images = [key for key, feature in features.items() if isinstance(feature, Image)]
    tensors = [key for key, feature in features.items() if type(feature) is Tensor and key != "label"]
    x = next((found[0] for found in (images, tensors) if len(found) == 1), None)
    if x is None:
        x = next((key for key in ("x", "image") if key in images + tensors), None)
    if x is None:
        raise DataError(f"tfds:{name} has features {sorted(features)}: one image, or one tensor, is needed")
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
