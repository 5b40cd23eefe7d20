"""Drawn figures in random poses before random backgrounds: frames with joints, masks and empty backgrounds."""

from __future__ import annotations

import numpy as np

from jaxgen.data.sources import Arrays

SIDE, FIGURES, FRAMES = 64, 40, 12
_LENGTHS = {"neck": 0.05, "torso": 0.26, "head": 0.06, "upper arm": 0.14, "forearm": 0.12, "thigh": 0.17, "calf": 0.17}
_RADIUS = {"limb": 0.035, "torso": 0.075, "head": 0.065}
# of the parts in drawing order: their two ends among the joints, -1 for the middle of shoulders, -2 for that of hips
_PARTS = ((11, 12), (12, 13), (8, 9), (9, 10), (-1, -2), (5, 6), (6, 7), (2, 3), (3, 4), (0, 0))


def figures(count: int = FIGURES, frames: int = FRAMES, side: int = SIDE, seed: int = 0) -> Arrays:
    """Figures of ten coloured parts, each in several poses before one background.

    Returns:
        `image` uint8 [count, frames, side, side, 3], `joints` float32 [count, frames, 14, 2], (x, y) in pixels in the
        order of MPII, `mask` uint8 [count, frames, side, side], and `background` uint8 [count, side, side, 3].
    """
    rng = np.random.default_rng(seed)
    background = _backgrounds(rng, count, side)
    joints = _poses(rng, count, frames) * side
    colors = rng.uniform(0, 255, (count, len(_PARTS), 3))
    image = np.broadcast_to(background[:, None], (count, frames, side, side, 3)).astype(np.float32)
    mask = np.zeros((count, frames, side, side), np.float32)
    for part, ends in enumerate(_PARTS):
        kind = "torso" if -1 in ends else "head" if ends == (0, 0) else "limb"
        coverage = _capsule(*(_joint(joints, end) for end in ends), _RADIUS[kind] * side, side)
        image += coverage[..., None] * (colors[:, None, None, None, part] - image)
        mask += coverage * (1 - mask)
    return {
        "image": image.round().astype(np.uint8), "joints": joints.astype(np.float32),
        "mask": (255 * mask).round().astype(np.uint8), "background": background,
    }  # fmt: skip


def _joint(joints: np.ndarray, index: int) -> np.ndarray:
    middles = {-1: (2, 5), -2: (8, 11)}
    return joints[:, :, list(middles[index])].mean(2) if index in middles else joints[:, :, index]


def _capsule(a: np.ndarray, b: np.ndarray, radius: float, side: int) -> np.ndarray:
    """How much of each pixel lies within `radius` of the segment from a to b, about: [count, frames, side, side]."""
    pixels = np.arange(side, dtype=np.float32)
    (ax, ay), (dx, dy) = (np.moveaxis(p.astype(np.float32), -1, 0)[..., None, None] for p in (a, b - a))
    x, y = pixels - ax, pixels[:, None] - ay
    t = np.clip((x * dx + y * dy) / np.maximum(dx**2 + dy**2, 1e-9), 0, 1)
    return np.clip(radius + 0.5 - np.hypot(x - t * dx, y - t * dy), 0, 1)


def _poses(rng: np.random.Generator, count: int, frames: int) -> np.ndarray:
    """Joints in fractions of the image's side, [count, frames, 14, 2]."""
    shape, length = (count, frames), _LENGTHS
    joints = np.zeros((*shape, 14, 2))

    def towards(start: np.ndarray, angle: np.ndarray, distance: float) -> np.ndarray:
        """A point at a distance; the angle is from straight down, to the left in the image if it is positive."""
        return start + distance * np.stack([-np.sin(angle), np.cos(angle)], -1)

    lean = rng.normal(0, 0.08, shape)
    hips = np.stack([rng.uniform(0.4, 0.6, shape), rng.uniform(0.52, 0.58, shape)], -1)
    neck = towards(hips, lean, -length["torso"])
    joints[:, :, 1] = towards(neck, lean, -length["neck"])
    joints[:, :, 0] = towards(joints[:, :, 1], lean, -length["head"])
    # a figure that turns shows its shoulders from the side
    width = np.abs(np.cos(rng.uniform(0, np.pi / 2, (count, frames, 1))))
    for sign, first in ((-1, 2), (1, 5)):
        joints[:, :, first] = neck + (sign * 0.09 * width) * (1, 0)
        joints[:, :, first + 6] = hips + (sign * 0.05 * width) * (1, 0)
        upper = -sign * rng.uniform(0.0, 1.6, shape) + lean
        joints[:, :, first + 1] = towards(joints[:, :, first], upper, length["upper arm"])
        forearm = upper - sign * rng.uniform(-0.3, 1.2, shape)
        joints[:, :, first + 2] = towards(joints[:, :, first + 1], forearm, length["forearm"])
        thigh = rng.normal(0, 0.35, shape) + lean
        joints[:, :, first + 7] = towards(joints[:, :, first + 6], thigh, length["thigh"])
        joints[:, :, first + 8] = towards(joints[:, :, first + 7], thigh + rng.normal(0, 0.3, shape), length["calf"])
    return joints


def _backgrounds(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """Smooth colours with some structure: sums of few waves, uint8 [count, side, side, 3]."""
    y, x = np.mgrid[:side, :side] / side
    image = np.zeros((count, side, side, 3))
    for _ in range(6):
        frequency = rng.normal(0, 2.0, (2, count, 1, 1))
        phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
        wave = np.sin(2 * np.pi * (frequency[0] * x + frequency[1] * y) + phase)
        image += wave[..., None] * rng.normal(0, 25, (count, 1, 1, 3))
    return np.clip(image + rng.uniform(60, 195, (count, 1, 1, 3)), 0, 255).round().astype(np.uint8)
