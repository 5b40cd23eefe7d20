"""Which coordinates a coupling conditions on: functions of the event's shape, hashable and comparable."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Checkerboard:
    """The pixels (i, j) of an image [H, W, C] whose i + j is even, in all channels (Dinh et al. 2017, section 3.4)."""

    def __call__(self, event_shape: tuple[int, ...]) -> np.ndarray:
        if len(event_shape) != 3:
            raise ValueError(f"Checkerboard needs an event [H, W, C], got {event_shape}.")
        even = np.indices(event_shape[:2]).sum(0) % 2 == 0
        return np.broadcast_to(even[..., None], event_shape)


@dataclasses.dataclass(frozen=True)
class Alternate:
    """Every other feature of the last axis, from the first on."""

    def __call__(self, event_shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(np.arange(event_shape[-1]) % 2 == 0, event_shape)


@dataclasses.dataclass(frozen=True)
class Halves:
    """The first half of the last axis, as a mask: the network then sees all features, those that move as zeros."""

    def __call__(self, event_shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(np.arange(event_shape[-1]) < event_shape[-1] // 2, event_shape)
