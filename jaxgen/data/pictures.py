"""Pictures of unequal sizes, and images of one size cut from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgen.data.checks import seed as check_seed
from jaxgen.data.checks import whole
from jaxgen.data.errors import DataError
from jaxgen.data import files


def load_pictures(path: Path, names: str | Sequence[str]) -> dict[str, np.ndarray]:
    """Pictures uint8 `[height, width, 3]` of a `.npz` file, by name.

    Args:
        names: of the arrays; or a string: the arrays whose names begin with it and that are pictures.

    Raises:
        DataError: the file cannot be read, or has no such pictures.
    """
    arrays = files.read(path)
    if isinstance(names, str):
        chosen = [name for name in arrays if name.startswith(names) and _is_picture(arrays[name])]
    else:
        chosen = [str(name) for name in names]
    if not chosen or not all(name in arrays and _is_picture(arrays[name]) for name in chosen):
        expected = f"pictures uint8 [height, width, 3] named {names!r:.200}"
        raise DataError(f"{path} must have {expected}, got {sorted(arrays)!r:.200}")
    return {name: arrays[name] for name in chosen}


def _is_picture(array: np.ndarray) -> bool:
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[-1] == 3


def random_crops(
    pictures: Sequence[np.ndarray], size: int, count: int, seed: int, largest: int | None = None
) -> np.ndarray:
    """Squares cut from pictures at random places, uint8 `[count, size, size, 3]`, half of them mirrored.

    Each picture gives as many, up to one. The side of a square is drawn between `size` and `largest`, or the shorter
    side of its picture; squares larger than `size` are scaled down.

    Args:
        largest: None: `size`, so that nothing is scaled.

    Raises:
        DataError: a picture smaller than `size`.
    """
    size, count, rng = whole("size", size, 1), whole("count", count, 1), np.random.default_rng(check_seed(seed))
    for picture in pictures:
        if min(picture.shape[:2]) < size:
            raise DataError(f"`pictures` must have sides of at least size={size}, got shape {picture.shape}")
    crops = []
    for i in range(count):
        picture = pictures[i % len(pictures)]
        height, width = picture.shape[:2]
        side = rng.integers(size, min(largest or size, height, width), endpoint=True)
        top, left = rng.integers(height - side, endpoint=True), rng.integers(width - side, endpoint=True)
        crop = resized(picture[top : top + side, left : left + side], size)
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return rng.permutation(np.stack(crops))


def central_crop(picture: np.ndarray, size: int) -> np.ndarray:
    """The `size` x `size` pixels in the middle of a picture.

    Raises:
        DataError: the picture is smaller.
    """
    height, width = picture.shape[:2]
    if min(height, width) < size:
        raise DataError(f"`picture` must have sides of at least size={size}, got shape {picture.shape}")
    top, left = (height - size) // 2, (width - size) // 2
    return picture[top : top + size, left : left + size]


def scaled_down(picture: np.ndarray, longest: int) -> np.ndarray:
    """A picture uint8 [height, width, 1 or 3] whose longer side is at most `longest`, by Lanczos' filter."""
    height, width = picture.shape[:2]
    if max(height, width) <= (longest := whole("longest", longest, 1)):
        return picture
    from PIL import Image

    size = (max(1, round(width * longest / max(height, width))), max(1, round(height * longest / max(height, width))))
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS)).reshape(*size[::-1], picture.shape[-1])


def resized(picture: np.ndarray, size: int) -> np.ndarray:
    """A square picture scaled to `[size, size, 3]` by Lanczos' filter."""
    if len(picture) == size:
        return picture
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))
