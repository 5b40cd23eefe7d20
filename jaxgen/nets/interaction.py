"""Networks whose output for an example depends on the other examples of the batch."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any


def examples_interact(network: Any) -> bool:
    """Whether a network, or anything in its fields, is declared to compute with several examples at once.

    Layers declare it by a class attribute `examples_interact = True`, as `MinibatchDiscrimination` and `BatchNorm` do.
    Fields are searched through tuples, mappings, partial functions and classes; layers that a network makes by itself
    are not seen, so that such a network declares it too.
    """
    if getattr(network, "examples_interact", False):
        return True
    if isinstance(network, dict):
        return any(map(examples_interact, network.values()))
    if isinstance(network, (tuple, list)):
        return any(map(examples_interact, network))
    if isinstance(network, functools.partial):
        return examples_interact((network.func, *network.args, network.keywords))
    if dataclasses.is_dataclass(network) and not isinstance(network, type):
        fields = (field.name for field in dataclasses.fields(network) if field.name != "parent")
        return any(examples_interact(getattr(network, name, None)) for name in fields)
    return False
