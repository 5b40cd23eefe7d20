"""Two-dimensional toy densities, float32 `[n, 2]`.

Each function draws a batch of `n` points from `rng`: `"x"` and, for sets with parts, `"label"`, the index of the part.
`eight_gaussians`, `twenty_five_gaussians` and `swiss_roll` are from Gulrajani et al. 2017 ("Improved Training of
Wasserstein GANs"); `five_gaussians`, `ten_gaussians` and `ten_paired_gaussians` are domains to translate between, in
the manner of Kim et al. 2017 ("DiscoGAN"), section 3.1; `banana`, `funnel` and `ring` are samples of
`jaxgen.distributions.unnormalized`; the others, unless their docstrings name a source, are from Grathwohl et al. 2019
("FFJORD").
"""

from collections.abc import Callable

import numpy as np

from jaxgen.data.arrays import ArraySource
from jaxgen.data.sources import Arrays
from jaxgen.data.splits import Splits

_DIAGONAL = 2**-0.5
_COMPASS = ((1, 0), (-1, 0), (0, 1), (0, -1), *((x * _DIAGONAL, y * _DIAGONAL) for x in (1, -1) for y in (1, -1)))

GAUSSIANS_8_CENTERS = tuple((2 * x / 1.414, 2 * y / 1.414) for x, y in _COMPASS)
"""Means of `eight_gaussians`, in the units of its samples."""
GAUSSIANS_8_STD = 0.02 / 1.414
"""Standard deviation of each component, per coordinate."""
GAUSSIANS_25_CENTERS = tuple((2 * x / 2.828, 2 * y / 2.828) for x in range(-2, 3) for y in range(-2, 3))
"""Means of `twenty_five_gaussians`, in the units of its samples."""
GAUSSIANS_25_STD = 0.05 / 2.828
"""Standard deviation of each component, per coordinate."""
GAUSSIAN_RING_CENTERS = _COMPASS
"""Means of `gaussian_ring`."""
GAUSSIAN_RING_STD = 0.01
GAUSSIAN_GRID_CENTERS = tuple((2.0 * x, 2.0 * y) for x in range(-2, 3) for y in range(-2, 3))
"""Means of `gaussian_grid`."""
GAUSSIAN_GRID_STD = 0.05


def _circle(n: int, radius: float, turn: float) -> list[tuple[float, float]]:
    """n points on a circle, equally far apart; the first at `turn` times their distance."""
    angles = 2 * np.pi * (np.arange(n) + turn) / n
    return [(float(radius * np.cos(t)), float(radius * np.sin(t))) for t in angles]


def _standardized(centers: list[tuple[float, float]], std: float) -> tuple[tuple[tuple[float, float], ...], float]:
    """Means and standard deviation of a mixture around zero, divided by the standard deviation of its coordinates."""
    scale = (sum(x**2 for x, _ in centers) / len(centers) + std**2) ** 0.5
    return tuple((x / scale, y / scale) for x, y in centers), std / scale


FIVE_GAUSSIANS_CENTERS, FIVE_GAUSSIANS_STD = _standardized(_circle(5, 1.0, 0.0), 0.1)
"""Means of `five_gaussians`, and the standard deviation of each component, per coordinate."""
TEN_GAUSSIANS_CENTERS, TEN_GAUSSIANS_STD = _standardized(_circle(10, 2.0, 0.25), 0.1)
"""Means and standard deviation of `ten_gaussians`."""
TEN_PAIRED_GAUSSIANS_CENTERS, TEN_PAIRED_GAUSSIANS_STD = _standardized(
    _circle(5, 1.0, 0.0) + _circle(5, 2.0, 0.0), 0.1
)
"""Means and standard deviation of `ten_paired_gaussians`."""


def two_moons(rng: np.random.Generator, n: int) -> Arrays:
    """Two interleaved half circles with noise 0.1, doubled and centred; labels 0 (upper), 1 (lower)."""
    label = rng.integers(2, size=n)
    t = rng.uniform(0, np.pi, n)
    upper, lower = np.stack([np.cos(t), np.sin(t)], 1), np.stack([1 - np.cos(t), 0.5 - np.sin(t)], 1)
    x = np.where(label[:, None] == 0, upper, lower) + rng.normal(0, 0.1, (n, 2))
    return _batch(2 * x - (1, 0.2), label)


def eight_gaussians(rng: np.random.Generator, n: int) -> Arrays:
    """Eight narrow Gaussians on a circle: radius 2 and standard deviation 0.02, both divided by 1.414."""
    return _mixture(rng, n, GAUSSIANS_8_CENTERS, GAUSSIANS_8_STD)


def twenty_five_gaussians(rng: np.random.Generator, n: int) -> Arrays:
    """Narrow Gaussians on a 5 x 5 grid: spacing 2 and standard deviation 0.05, both divided by 2.828."""
    return _mixture(rng, n, GAUSSIANS_25_CENTERS, GAUSSIANS_25_STD)


def gaussian_ring(rng: np.random.Generator, n: int) -> Arrays:
    """Eight very narrow Gaussians on the unit circle, standard deviation 0.01: Lin et al. 2018 ("PacGAN"), 2D-ring."""
    return _mixture(rng, n, GAUSSIAN_RING_CENTERS, GAUSSIAN_RING_STD)


def gaussian_grid(rng: np.random.Generator, n: int) -> Arrays:
    """Gaussians on a 5 x 5 grid of spacing 2, standard deviation 0.05: Lin et al. 2018 ("PacGAN"), 2D-grid."""
    return _mixture(rng, n, GAUSSIAN_GRID_CENTERS, GAUSSIAN_GRID_STD)


def swiss_roll(rng: np.random.Generator, n: int) -> Arrays:
    """A spiral `t (cos t, sin t)`, t uniform in 1.5 pi .. 4.5 pi, with noise 0.25, divided by 7.5; no label."""
    t = rng.uniform(1.5 * np.pi, 4.5 * np.pi, n)
    x = t[:, None] * np.stack([np.cos(t), np.sin(t)], 1) + rng.normal(0, 0.25, (n, 2))
    return _batch(x / 7.5)


def checkerboard(rng: np.random.Generator, n: int) -> Arrays:
    """Uniform on the eight dark squares of a 4 x 4 board of side 8 around the origin; the label is the square."""
    label = rng.integers(8, size=n)
    column, row = label // 2, 2 * (label % 2) + (label // 2) % 2
    corner = np.stack([column, row], 1)
    return _batch(2 * (corner + rng.uniform(size=(n, 2))) - 4, label)


def pinwheel(rng: np.random.Generator, n: int) -> Arrays:
    """Five Gaussian arms, sheared into a spiral; the label is the arm."""
    label = rng.integers(5, size=n)
    arm = rng.normal(0, (0.3, 0.1), (n, 2)) + (1, 0)
    angle = 2 * np.pi / 5 * label + 0.25 * np.exp(arm[:, 0])
    cos, sin = np.cos(angle), np.sin(angle)
    x = np.stack([cos * arm[:, 0] + sin * arm[:, 1], cos * arm[:, 1] - sin * arm[:, 0]], 1)
    return _batch(2 * x, label)


def rings(rng: np.random.Generator, n: int) -> Arrays:
    """Four equally likely circles with radii 0.75, 1.5, 2.25, 3 and noise 0.08; labels count outwards."""
    label = rng.integers(4, size=n)
    t = rng.uniform(0, 2 * np.pi, n)
    x = 0.75 * (label + 1)[:, None] * np.stack([np.cos(t), np.sin(t)], 1) + rng.normal(0, 0.08, (n, 2))
    return _batch(x, label)


def banana(rng: np.random.Generator, n: int) -> Arrays:
    """A Gaussian bent along a parabola: x1 ~ N(0, 2^2), x2 ~ N(x1^2 / 4 - 1, 1); no label."""
    first = rng.normal(0, 2, n)
    return _batch(np.stack([first, first**2 / 4 - 1 + rng.normal(size=n)], 1))


def funnel(rng: np.random.Generator, n: int) -> Arrays:
    """Neal's funnel: x1 ~ N(0, 3^2), x2 ~ N(0, exp(x1)); no label."""
    first = rng.normal(0, 3, n)
    return _batch(np.stack([first, np.exp(first / 2) * rng.normal(size=n)], 1))


def ring(rng: np.random.Generator, n: int) -> Arrays:
    """Eight broad Gaussians on a circle: radius 3, standard deviation 0.5."""
    return _mixture(rng, n, tuple((3 * x, 3 * y) for x, y in _COMPASS), 0.5)


def five_gaussians(rng: np.random.Generator, n: int) -> Arrays:
    """Five Gaussians on a circle: radius 1 and standard deviation 0.1, scaled to unit variance of the coordinates."""
    return _mixture(rng, n, FIVE_GAUSSIANS_CENTERS, FIVE_GAUSSIANS_STD)


def ten_gaussians(rng: np.random.Generator, n: int) -> Arrays:
    """Ten Gaussians on a circle: radius 2 and standard deviation 0.1, scaled to unit variance of the coordinates."""
    return _mixture(rng, n, TEN_GAUSSIANS_CENTERS, TEN_GAUSSIANS_STD)


def ten_paired_gaussians(rng: np.random.Generator, n: int) -> Arrays:
    """Two Gaussians in each of five directions: radii 1 and 2, standard deviation 0.1, scaled to unit variance.

    No rotation maps them to `ten_gaussians`. To permute the modes of a domain would not change it: they have no order.
    """
    return _mixture(rng, n, TEN_PAIRED_GAUSSIANS_CENTERS, TEN_PAIRED_GAUSSIANS_STD)


TOYS: dict[str, tuple[Callable[[np.random.Generator, int], Arrays], int | None]] = {
    "two_moons": (two_moons, 2),
    "eight_gaussians": (eight_gaussians, 8),
    "twenty_five_gaussians": (twenty_five_gaussians, 25),
    "gaussian_ring": (gaussian_ring, 8),
    "gaussian_grid": (gaussian_grid, 25),
    "swiss_roll": (swiss_roll, None),
    "checkerboard": (checkerboard, 8),
    "pinwheel": (pinwheel, 5),
    "rings": (rings, 4),
    "banana": (banana, None),
    "funnel": (funnel, None),
    "ring": (ring, 8),
    "five_gaussians": (five_gaussians, 5),
    "ten_gaussians": (ten_gaussians, 10),
    "ten_paired_gaussians": (ten_paired_gaussians, 10),
}
"""By name, the function that draws and its number of classes."""

SIZES = (100_000, 10_000, 10_000)


def toy(name: str) -> Splits:
    """Fixed, independent samples of a toy: 100,000 training, 10,000 validation and 10,000 test examples."""
    draw, num_classes = TOYS[name]
    batches = (draw(np.random.default_rng(seed), n) for seed, n in enumerate(SIZES))
    return Splits(*(ArraySource(batch, name=name, num_classes=num_classes) for batch in batches))


def _mixture(rng: np.random.Generator, n: int, centers: tuple[tuple[float, float], ...], std: float) -> Arrays:
    label = rng.integers(len(centers), size=n)
    return _batch(np.asarray(centers)[label] + rng.normal(0, std, (n, 2)), label)


def _batch(x: np.ndarray, label: np.ndarray | None = None) -> Arrays:
    x = x.astype(np.float32)
    return {"x": x} if label is None else {"x": x, "label": label.astype(np.int32)}
