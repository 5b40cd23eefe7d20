"""Ranges of numbers on the fields of a dataclass."""

import math
from dataclasses import dataclass, field
from typing import Annotated

import pytest

from jaxgen.training.ranges import Between, Count, Finite, Fraction, Natural, NonNegative, Probability, check_ranges


@dataclass(frozen=True)
class Config:
    count: Count = 1
    natural: Natural = 0
    fraction: Fraction = 0.0
    probability: Probability = 1.0
    weight: NonNegative = 0.0
    real: Finite = -1.0
    share: Annotated[float, Between(0, 1, above=True)] = 1.0
    optional: Count | None = None
    widths: tuple[Count, ...] = (1, 2)
    sizes: dict[str, Count] = field(default_factory=dict)
    flag: bool = False
    free: int = -5


@dataclass(frozen=True)
class Replaced(Config):
    count: Natural = 0


def test_the_ends_of_the_ranges_are_in_them():
    check_ranges(Config())
    check_ranges(
        Config(count=2**31 - 1, fraction=0.999, probability=0.0, weight=1e30, share=1e-9, optional=1, flag=True)
    )
    check_ranges(Config(widths=(), sizes={"a": 3}))
    # a subclass's annotation takes the place of its base's
    check_ranges(Replaced())


@pytest.mark.parametrize(
    ("name", "value", "needed", "got"),
    [
        ("count", 0, "at least 1 and at most 2,147,483,647", 0),
        ("count", 2**31, "at least 1 and at most 2,147,483,647", 2**31),
        ("natural", -1, "at least 0 and at most 2,147,483,647", -1),
        ("fraction", 1.0, "at least 0 and below 1", 1.0),
        ("probability", 1.1, "at least 0 and at most 1", 1.1),
        ("weight", -1e-9, "at least 0 and finite", -1e-9),
        ("weight", math.inf, "at least 0 and finite", math.inf),
        ("weight", math.nan, "at least 0 and finite", math.nan),
        ("real", -math.inf, "finite", -math.inf),
        ("share", 0.0, "above 0 and at most 1", 0.0),
        ("optional", 0, "at least 1 and at most 2,147,483,647", 0),
        ("widths", (3, 0), "at least 1 and at most 2,147,483,647", 0),
        ("sizes", {"a": 1, "b": 0}, "at least 1 and at most 2,147,483,647", 0),
    ],
)
def test_what_is_out_of_its_range_is_named(name, value, needed, got):
    with pytest.raises(ValueError) as refused:
        check_ranges(Config(**{name: value}))
    assert str(refused.value) == f"`{name}` must be {needed}, got {got}"
