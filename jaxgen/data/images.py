"""Images included in scikit-learn."""

from collections.abc import Sequence

import numpy as np

from jaxgen.data.arrays import ArraySource
from jaxgen.data.checks import whole
from jaxgen.data.errors import DataError
from jaxgen.data.sources import Source
from jaxgen.data.splits import Splits

PATCH = 32
# Columns of the photographs, 640 pixels wide, and the stride between crops. The splits share no pixel.
PATCH_BANDS = {"train": (0, 448, 8), "valid": (448, 544, 16), "test": (544, 640, 16)}


def digits() -> Splits:
    """8x8 handwritten digits, uint8 `[N, 8, 8, 1]` with 17 levels and labels; 1400 / 197 / 200 examples.

    The splits are slices of `np.random.default_rng(0).permutation(1797)`, as in `RESULTS.md`.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    whole = ArraySource(
        {"x": bunch.images[..., None].astype(np.uint8), "label": bunch.target}, levels=17, name="digits", num_classes=10
    )
    order = np.random.default_rng(0).permutation(len(whole))
    return Splits(*(whole.subset(indices) for indices in np.split(order, [1400, 1597])))


def patches() -> Splits:
    """32x32 colour crops of two photographs, uint8 `[N, 32, 32, 3]` with 256 levels; 5300 / 250 / 250 examples.

    Each split covers a vertical band of both photographs. Training crops, eight pixels apart, overlap. The order is
    random and fixed, so that the first examples represent the whole set.
    """
    from sklearn.datasets import load_sample_images

    images = load_sample_images().images

    def split(start: int, stop: int, stride: int) -> ArraySource:
        x = crops([image[:, start:stop] for image in images], stride)
        return ArraySource({"x": np.random.default_rng(0).permutation(x)}, levels=256, name="patches")

    return Splits(**{name: split(*band) for name, band in PATCH_BANDS.items()})


def crops(images: Sequence[np.ndarray], stride: int, size: int = PATCH) -> np.ndarray:
    """The `size` x `size` windows of images `[height, width, c]`, `stride` pixels apart: `[n, size, size, c]`."""
    windows = (np.lib.stride_tricks.sliding_window_view(image, (size, size), (0, 1)) for image in images)
    return np.concatenate(
        [view[::stride, ::stride].transpose(0, 1, 3, 4, 2).reshape(-1, size, size, view.shape[2]) for view in windows]
    )


def low_resolution(x: np.ndarray, levels: int, factor: int) -> np.ndarray:
    """Means of `factor` x `factor` pixels, scaled from 0 .. `levels` - 1 to [-1, 1].

    Integers `[N, H, W, c]` to float32 `[N, H / factor, W / factor, c]`.

    Raises:
        DataError: the factor is below 2 or does not divide height and width.
    """
    levels, factor = whole("levels", levels, 2), whole("factor", factor)
    if x.ndim != 4 or factor < 2 or x.shape[1] % factor or x.shape[2] % factor:
        raise DataError(f"factor must be >= 2 and divide both sides of images of shape {x.shape[1:]}, got {factor}")
    n, h, w, c = x.shape
    means = x.reshape(n, h // factor, factor, w // factor, factor, c).mean((2, 4), dtype=np.float32)
    return 2 * means / (levels - 1) - 1


def stacked(split: Source, n: int, seed: int) -> ArraySource:
    """n examples of three grey images each, drawn with replacement, one in each colour channel; without labels.

    Metz et al. 2017, "Unrolled Generative Adversarial Networks", section 3.3.1: stacked MNIST.
    """
    x = split.head(len(split))["x"]
    index = np.random.default_rng(seed).integers(len(x), size=(n, 3))
    images = np.concatenate([x[index[:, i]] for i in range(3)], -1)
    return ArraySource({"x": images}, levels=split.levels, name=f"stacked {split.name}")
