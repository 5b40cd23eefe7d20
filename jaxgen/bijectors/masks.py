"""Masks of couplings, True for the coordinates conditioned on: hashable functions of the event's shape."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Checkerboard:
    """The pixels (i, j) of an image [H, W, C] whose i + j is even, in all channels (Dinh et al. 2017, section 3.4)."""

    def __call__(self, event_shape: tuple[int, ...]) -> np.ndarray:
        if len(event_shape) != 3:
            raise ValueError(f"Checkerboard requires an event [H, W, C], got shape {event_shape}")
        even = np.indices(event_shape[:2]).sum(0) % 2 == 0
        return np.broadcast_to(even[..., None], event_shape)


@dataclasses.dataclass(frozen=True)
class Alternate:
    """Every other feature of the last axis, starting with the first."""

    def __call__(self, event_shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(np.arange(event_shape[-1]) % 2 == 0, event_shape)


@dataclasses.dataclass(frozen=True)
class Halves:
    """The first half of the last axis, as a mask: the network sees all features, the transformed ones as zeros."""

    def __call__(self, event_shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(np.arange(event_shape[-1]) < event_shape[-1] // 2, event_shape)
