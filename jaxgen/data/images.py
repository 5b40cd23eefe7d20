"""Images that come with scikit-learn: nothing to download."""

from collections.abc import Sequence

import numpy as np

from jaxgen.data.arrays import ArraySource
from jaxgen.data.checks import whole
from jaxgen.data.errors import DataError
from jaxgen.data.sources import Source
from jaxgen.data.splits import Splits

PATCH = 32
# Columns of the 640 pixels wide photographs, and the stride between crops. Crops lie within their band: the splits
# share no pixel.
PATCH_BANDS = {"train": (0, 448, 8), "valid": (448, 544, 16), "test": (544, 640, 16)}


def digits() -> Splits:
    """8x8 handwritten digits, uint8 `[rows, 8, 8, 1]` of 17 levels, with labels; 1400 / 197 / 200 rows.

    The split is that of the figures this project publishes: `np.random.default_rng(0).permutation(1797)`, in order.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    whole = ArraySource(
        {"x": bunch.images[..., None].astype(np.uint8), "label": bunch.target}, levels=17, name="digits", classes=10
    )
    order = np.random.default_rng(0).permutation(len(whole))
    return Splits(*(whole.subset(rows) for rows in np.split(order, [1400, 1597])))


def patches() -> Splits:
    """32x32 colour crops of two photographs, uint8 `[rows, 32, 32, 3]` of 256 levels; 5300 / 250 / 250 rows.

    Each split has a vertical band of both photographs to itself. Training crops overlap each other, eight pixels apart.
    Rows are in a fixed random order, so that the first ones show all there is.
    """
    from sklearn.datasets import load_sample_images

    images = load_sample_images().images

    def split(start: int, stop: int, stride: int) -> ArraySource:
        x = crops([image[:, start:stop] for image in images], stride)
        return ArraySource({"x": np.random.default_rng(0).permutation(x)}, levels=256, name="patches")

    return Splits(**{name: split(*band) for name, band in PATCH_BANDS.items()})


def crops(images: Sequence[np.ndarray], stride: int, size: int = PATCH) -> np.ndarray:
    """All `size` x `size` windows of `[height, width, c]` images, `stride` pixels apart: `[n, size, size, c]`."""
    windows = (np.lib.stride_tricks.sliding_window_view(image, (size, size), (0, 1)) for image in images)
    return np.concatenate(
        [view[::stride, ::stride].transpose(0, 1, 3, 4, 2).reshape(-1, size, size, view.shape[2]) for view in windows]
    )


def low_resolution(x: np.ndarray, levels: int, factor: int) -> np.ndarray:
    """Images of `levels` grey levels at a lower resolution, scaled to [-1, 1]: the means of `factor` x `factor` pixels.

    Integers `[rows, H, W, c]` to float32 `[rows, H / factor, W / factor, c]`.

    Raises:
        DataError: where the factor is below 2 or does not divide height and width.
    """
    levels, factor = whole("levels", levels, 2), whole("factor", factor)
    if x.ndim != 4 or factor < 2 or x.shape[1] % factor or x.shape[2] % factor:
        raise DataError(f"rows have shape {x.shape[1:]}: {factor} must be above 1 and divide both sides of an image")
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
