"""Characters of a text file, in windows of equal length."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.data.arrays import ArraySource
from jaxgen.data.errors import DataError, one_line
from jaxgen.data.sources import Arrays
from jaxgen.data.splits import Splits

SUFFIXES = (".txt", ".txt.gz")
WINDOW = 64
"""Characters of a row."""


class TextSource(ArraySource):
    """Rows of characters, `"x"` their numbers in `vocabulary`: uint8 where those suffice, else int32."""

    def __init__(self, arrays: Mapping[str, Any], *, vocabulary: str, name: str = "text", classes: int | None = None):
        super().__init__(arrays, levels=len(vocabulary), name=name, classes=classes)
        self.vocabulary = vocabulary

    def texts(self, rows: Iterable[Any]) -> list[str]:
        """Rows of numbers, of this source or a model's, as text."""
        return ["".join(self.vocabulary[int(number)] for number in row) for row in rows]

    def _with(self, arrays: Arrays) -> TextSource:
        return TextSource(arrays, vocabulary=self.vocabulary, name=self.name, classes=self.classes)


def load(path: Path, window: int = WINDOW) -> Splits:
    """The splits of a text in UTF-8, as it is or compressed by gzip.

    The text is cut into windows that follow each other without a gap, line breaks among their characters; what is left
    at the end is dropped. The last tenth of the windows is `test`, the tenth before it `valid`, so that both go on
    where the training text ends. The vocabulary has all characters of the file, in the order of their code points.

    Raises:
        DataError: for files that are missing, damaged or not UTF-8, too short, or of one character only.
    """
    text = _read(path)
    vocabulary = "".join(sorted(set(text)))
    count = len(text) // window
    tenth = max(1, count // 10)
    if count < 3:
        raise DataError(f"{path} has {len(text)} characters: three windows of {window} are needed to split it")
    if len(vocabulary) < 2:
        raise DataError(f"{path} has nothing but {vocabulary!r}: two different characters are needed")
    points = np.frombuffer(text[: count * window].encode("utf-32-le"), np.uint32)
    known = np.frombuffer(vocabulary.encode("utf-32-le"), np.uint32)
    numbers = np.searchsorted(known, points).astype(np.uint8 if len(vocabulary) <= 256 else np.int32)
    parts = np.split(numbers.reshape(count, window), [count - 2 * tenth, count - tenth])
    return Splits(*(TextSource({"x": part}, vocabulary=vocabulary, name=path.name) for part in parts))


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        return content.decode("utf-8").replace("\r\n", "\n")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: the path of a .txt or .txt.gz file is needed") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as text in UTF-8: {one_line(error)}") from error
