"""Text files, cut into windows of equal length."""

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
"""Characters of an example."""


class TextSource(ArraySource):
    """Windows of characters; `"x"` [N, T] holds their indices in `vocabulary`: uint8 if those suffice, else int32."""

    def __init__(
        self, arrays: Mapping[str, Any], *, vocabulary: str, name: str = "text", num_classes: int | None = None
    ):
        super().__init__(arrays, levels=len(vocabulary), name=name, num_classes=num_classes)
        self.vocabulary = vocabulary

    def texts(self, windows: Iterable[Any]) -> list[str]:
        """Windows of indices, this source's or a model's, as text."""
        return ["".join(self.vocabulary[int(index)] for index in window) for window in windows]

    def _with(self, arrays: Arrays) -> TextSource:
        return TextSource(arrays, vocabulary=self.vocabulary, name=self.name, num_classes=self.num_classes)


def load(path: Path, window: int = WINDOW) -> Splits:
    """The splits of a UTF-8 text, plain or compressed by gzip.

    The text, line breaks included, is cut into adjacent windows; an incomplete last window is dropped. The last tenth
    of the windows is `test`, the tenth before it `valid`, so both continue where the training text ends. The vocabulary
    has all characters of the file, in the order of their code points.

    Args:
        window: characters of an example.

    Raises:
        DataError: the file is missing, damaged, not UTF-8, too short, or repeats one character; an invalid window.
    """
    if not isinstance(window, int) or window < 1:
        raise DataError(f"`window` must be an integer of at least 1, got {window!r}")
    text = read(path)
    vocabulary = "".join(sorted(set(text)))
    count = len(text) // window
    tenth = max(1, count // 10)
    if count < 3:
        raise DataError(f"{path} must have at least {3 * window} characters to be split, got {len(text)}")
    if len(vocabulary) < 2:
        raise DataError(f"{path} must have two different characters, got only {vocabulary!r}")
    points = np.frombuffer(text[: count * window].encode("utf-32-le"), np.uint32)
    alphabet = np.frombuffer(vocabulary.encode("utf-32-le"), np.uint32)
    indices = np.searchsorted(alphabet, points).astype(np.uint8 if len(vocabulary) <= 256 else np.int32)
    parts = np.split(indices.reshape(count, window), [count - 2 * tenth, count - tenth])
    return Splits(*(TextSource({"x": part}, vocabulary=vocabulary, name=path.name) for part in parts))


def read(path: Path) -> str:
    """A UTF-8 text, plain or compressed by gzip, with line feeds between lines.

    Raises:
        DataError: the file is missing, damaged, or not UTF-8.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        return content.decode("utf-8").replace("\r\n", "\n")
    except FileNotFoundError:
        raise DataError(f"{path} must be the path of a .txt or .txt.gz file, got a file that does not exist") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {one_line(error)}") from error
