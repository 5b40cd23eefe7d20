"""Datasets in, batches out: `source(name)` opens one, and its sources answer with the batch of any step.

The modules here import NumPy alone; what a dataset needs besides is imported when it is opened.
"""

from jaxgen.data.arrays import ArraySource
from jaxgen.data.catalog import NAMED, source
from jaxgen.data.context import attributes
from jaxgen.data.errors import DataError
from jaxgen.data.records import RecordSource
from jaxgen.data.sources import Source
from jaxgen.data.splits import Splits, carve
from jaxgen.data.zipped import Paired, Zipped

__all__ = [
    "ArraySource", "DataError", "NAMED", "Paired", "RecordSource", "Source", "Splits", "Zipped", "attributes",
    "carve", "source",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
