"""The zoo: `flows`, `vaes`, `gans`, `hybrids`, `translation`, `sequences`, and the classifier whose features judge samples."""

from jaxgen.lazy import lazy
from typing import TYPE_CHECKING

__all__ = [
    "TYPE_CHECKING", "lazy",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
