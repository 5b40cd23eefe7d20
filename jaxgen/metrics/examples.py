"""Sets of examples as matrices."""

from __future__ import annotations

from typing import Any

from jaxgen.arguments import as_arrays, check_finite, check_length
from jaxgen.contracts import Array


def flatten_examples(least: int = 1, **samples: Any) -> tuple[Array, ...]:
    """Up to two sets of examples [N, ...] and [M, ...] as floats [N, D] and [M, D]; other numbers become float32.

    `real, fake = flatten_examples(real=real, fake=fake)`.

    Args:
        least: the minimal number of examples in each set.

    Raises:
        ValueError: different event shapes, too few examples, NaN or infinite values (traced values are not checked).
        TypeError: not real numbers.
    """
    values = as_arrays(*("N ...", "M ...")[: len(samples)], **samples)
    checked = dict(zip(samples, values, strict=True))
    check_length(least, **checked)
    check_finite(**checked)
    return tuple(value.reshape(value.shape[0], -1) for value in values)
