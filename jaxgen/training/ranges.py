"""Ranges of numbers on the fields of a dataclass, `width: Annotated[int, Between(1, 512)] = 64`, and their check."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

__all__ = ["Between", "Count", "Finite", "Fraction", "Natural", "NonNegative", "Probability", "Seed", "check_ranges"]

INT32_MAX = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Between:
    """The finite numbers from `least` to `most`; `above` leaves out `least`, `below` leaves out `most`."""

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        enough = value > self.least if self.above else value >= self.least
        return math.isfinite(value) and enough and (value < self.most if self.below else value <= self.most)

    def __str__(self) -> str:
        ends = [
            f"{'above' if self.above else 'at least'} {self.least:,}" if math.isfinite(self.least) else "",
            f"{'below' if self.below else 'at most'} {self.most:,}" if math.isfinite(self.most) else "finite",
        ]
        return " and ".join(filter(None, ends))


Count = Annotated[int, Between(1, INT32_MAX)]
"""An integer from 1; steps and sizes are int32 in compiled code."""
Natural = Annotated[int, Between(0, INT32_MAX)]
"""An integer from 0, which is a valid index, or stands for none."""
Seed = Annotated[int, Between(0, 2**32 - 1)]
"""A seed whose bits `jax.random.key` keeps."""
NonNegative = Annotated[float, Between(0)]
"""A learning rate, a weight, a standard deviation."""
Fraction = Annotated[float, Between(0, 1, below=True)]
"""A decay or a dropout rate."""
Probability = Annotated[float, Between(0, 1)]
Finite = Annotated[float, Between()]
"""A real number of either sign."""


def check_ranges(config: Any) -> None:
    """Checks the numbers of a dataclass, those within tuples and mappings too, against the ranges on its fields.

    Raises:
        ValueError: a number that is not in the range of its field.
    """
    hints = get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        for limits in ranges_of(hints[field.name]):
            for number in _numbers(getattr(config, field.name)):
                if number not in limits:
                    raise ValueError(f"`{field.name}` must be {limits}, got {number}")


def ranges_of(hint: Any) -> Iterator[Between]:
    """The ranges in a type, also within optional types, tuples and mappings."""
    if get_origin(hint) is Annotated:
        yield from (part for part in hint.__metadata__ if isinstance(part, Between))
    for part in get_args(hint):
        yield from ranges_of(part)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        value = tuple(value.values())
    for part in value if isinstance(value, tuple) else (value,):
        if isinstance(part, (int, float)) and not isinstance(part, bool):
            yield part
