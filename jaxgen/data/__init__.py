"""Datasets: `source(name)` opens one; its sources return the batch of any step.

These modules import only NumPy; other dependencies of a dataset are imported when it is opened.
"""

from jaxgen.data.arrays import ArraySource
from jaxgen.data.catalog import NAMED, source
from jaxgen.data.context import attributes
from jaxgen.data.domains import domains
from jaxgen.data.errors import DataError
from jaxgen.data.frames import FramePairs, frames
from jaxgen.data.records import RecordSource
from jaxgen.data.sentences import TokenSource, numerals, sentence_pairs, sentences
from jaxgen.data.sources import Source
from jaxgen.data.splits import Splits, carve
from jaxgen.data.time_series import SeriesSource, time_series
from jaxgen.data.vocabulary import Vocabulary
from jaxgen.data.zipped import Paired, Zipped

__all__ = [
    "ArraySource", "DataError", "FramePairs", "NAMED", "Paired", "RecordSource", "SeriesSource", "Source", "Splits",
    "TokenSource", "Vocabulary", "Zipped", "attributes", "carve", "domains", "frames", "numerals",
    "sentence_pairs", "sentences", "source", "time_series",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
