"""Frames of articulated figures with the positions of their joints, in pairs of one figure in two poses."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxgen.data import checks, figures, files
from jaxgen.data.errors import DataError
from jaxgen.data.sources import Arrays, Source
from jaxgen.data.splits import Splits

FIGURES = "figures"
"""The name of a set that needs no files: `jaxgen.data.figures`."""
APART = 0.02
"""Frames of a pair are further apart than this fraction of their clip (Balakrishnan et al. 2018)."""
KEYS = {"x": "image", "joints": "joints", "mask": "mask", "background": "background"}
"""By array of a frame, its key in a file."""


class FramePairs(Source):
    """Ordered pairs of frames of one clip: a batch is `{"source": {"x", "joints", ...}, "target": {...}}`.

    An example is a pair, so that the batch of a step is a function of the seed and the step, as in any source.

    Args:
        arrays: of the frames, [N, ...]: `"x"`, images uint8 [N, H, W, C]; `"joints"`, float [N, J, 2], (x, y) in
            pixels, NaN where unknown; and others.
        pairs: indices of the frames of each pair, [M, 2]: source, target.
        name: used in messages.

    Raises:
        DataError: arrays of other shapes or lengths, or indices that are not those of frames.
    """

    resident = True

    def __init__(self, arrays: Mapping[str, Any], pairs: np.ndarray, *, name: str = "frames"):
        super().__init__(name, 256, None)
        joints = np.asarray(arrays.get("joints"), np.float32)
        self.frames = checks.batch({k: v for k, v in arrays.items() if k != "joints"}, name, self.levels, None)
        if joints.ndim != 3 or joints.shape[::2] != (len(self.frames["x"]), 2) or np.isinf(joints).any():
            n = len(self.frames["x"])
            raise DataError(f"{name}: array 'joints' must be [{n}, J, 2], finite or NaN, got shape {joints.shape}")
        self.frames["joints"] = joints
        checks.check_indices(np.ravel(pairs), name, len(joints))
        self.pairs = np.asarray(pairs, np.int32).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.frames["x"].shape[1:]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.frames.values())

    @property
    def arrays(self) -> dict[str, Arrays]:
        """All frames, as sources and as targets."""
        return {"source": self.frames, "target": self.frames}

    def indices_at(self, step: int, size: int, seed: int) -> dict[str, np.ndarray]:
        """The indices of the frames of the batch of a step, by part."""
        return self._frames_of(super().indices_at(step, size, seed))

    def take(self, indices: Any) -> dict[str, Arrays]:
        """The pairs with these indices, or the frames with these indices by part."""
        parts = indices if isinstance(indices, Mapping) else self._frames_of(np.asarray(indices))
        return {part: {k: array[i] for k, array in self.frames.items()} for part, i in parts.items()}

    def batch_at(
        self, step: int, size: int, seed: int, process_index: int = 0, process_count: int = 1
    ) -> dict[str, Arrays]:
        index, count = checks.whole("process_index", process_index), checks.whole("process_count", process_count, 1)
        if index >= count or size < count:
            raise DataError(f"process_index={index} and size={size} must fit process_count={count}")
        cut = slice(index * size // count, (index + 1) * size // count)
        return self.take({part: i[cut] for part, i in self.indices_at(step, size, seed).items()})

    def subset(self, indices: np.ndarray) -> FramePairs:
        pairs = self.pairs[checks.check_indices(indices, self.name, len(self))]
        return FramePairs(self.frames, pairs, name=self.name)

    def with_context(self, make: Callable[[Arrays], np.ndarray]) -> Source:
        raise DataError(f"{self.name}: pairs of frames have poses in place of a context")

    def _frames_of(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"source": self.pairs[indices, 0], "target": self.pairs[indices, 1]}


def all_pairs(clips: int, frames: int, apart: float = APART) -> np.ndarray:
    """All ordered pairs of different frames of each clip, more than `apart` of it apart: [M, 2].

    They are in a fixed random order, so that the first ones represent the whole set.
    """
    first, second = np.meshgrid(np.arange(frames), np.arange(frames), indexing="ij")
    far = np.abs(first - second) > max(apart * frames, 0)
    within = np.stack([first[far], second[far]], -1)
    pairs = (within + frames * np.arange(clips)[:, None, None]).reshape(-1, 2)
    return np.random.default_rng(0).permutation(pairs)


def half_a_clip_apart(clips: int, frames: int) -> np.ndarray:
    """Each frame of the first half of a clip with the one half a clip later, in order: [M, 2]."""
    first = np.arange(frames // 2)
    within = np.stack([first, first + frames // 2], -1)
    return (within + frames * np.arange(clips)[:, None, None]).reshape(-1, 2)


def frames(name: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None) -> Splits:
    """Opens frames with joints: splits of `FramePairs`, of different figures.

    Training examples are `all_pairs`. Validation and test examples are pairs `half_a_clip_apart`, with the arrays
    `"mask"` [N, H, W, 1] of the figure and `"background"` [N, H, W, C] without it, if the file has them.

    Args:
        name: `figures`, or the path of a .npz file with `image_train` uint8 [P, F, H, W, C] and `joints_train`
            [P, F, J, 2], and optionally `mask_train` uint8 [P, F, H, W] and `background_train` [P, H, W, C] or
            [P, F, H, W, C], for P figures with F frames each; likewise `valid` and `test`, which are otherwise taken
            from the last figures, a tenth each.
        data_dir: the folder of relative paths.

    Raises:
        DataError: data that cannot be read, or of another layout.
    """
    name = checks.path("frames", name)
    path = checks.data_path(name, data_dir)
    if name == FIGURES:
        parts = {"train": figures.figures()}
    elif name.endswith(".npz"):
        parts = _by_split(files.read(path), path.name)
    else:
        raise DataError(f"`frames` must be {FIGURES!r} or the path of a .npz file, got {name!r}")
    train = parts["train"]
    for split in ("test", "valid"):
        if split not in parts:
            tenth = max(1, len(parts["train"]["image"]) // 10)
            parts[split] = {key: array[len(array) - tenth :] for key, array in train.items()}
            train = {key: array[: len(array) - tenth] for key, array in train.items()}
    parts["train"] = train
    return Splits(**{split: _pairs(parts[split], split, f"{path.name} ({split})") for split in files.SPLITS})


def _by_split(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, Arrays]:
    parts = {
        split: {key: arrays[f"{key}_{split}"] for key in KEYS.values() if f"{key}_{split}" in arrays}
        for split in files.SPLITS
    }
    parts = {split: part for split, part in parts.items() if part}
    for split in ("train", *parts):
        if not {"image", "joints"} <= set(parts.get(split, ())):
            raise DataError(f"{name} must have 'image_{split}' and 'joints_{split}', got {sorted(arrays)}")
    return parts


def _pairs(arrays: Arrays, split: str, name: str) -> FramePairs:
    images = arrays["image"]
    if images.ndim != 5 or images.dtype != np.uint8 or images.shape[1] < 2:
        raise DataError(f"{name}: images must be uint8 [P, F, H, W, C] with F >= 2, got {images.dtype}{images.shape}")
    clips, count = images.shape[:2]
    flat = {"x": images.reshape(-1, *images.shape[2:]), "joints": _flat(arrays["joints"], clips, count, name)}
    if split == "train":
        return FramePairs(flat, all_pairs(clips, count), name=name)
    if "mask" in arrays:
        flat["mask"] = _flat(arrays["mask"], clips, count, name)[..., None]
    if "background" in arrays:
        background = arrays["background"]
        still = background.ndim == 4
        flat["background"] = background.repeat(count, 0) if still else _flat(background, clips, count, name)
    return FramePairs(flat, half_a_clip_apart(clips, count), name=name)


def _flat(array: np.ndarray, clips: int, count: int, name: str) -> np.ndarray:
    if array.shape[:2] != (clips, count):
        raise DataError(f"{name}: arrays must begin with the axes [{clips}, {count}] of the images, got {array.shape}")
    return array.reshape(-1, *array.shape[2:])
