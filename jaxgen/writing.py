"""Files that cannot be written, in one sentence; text that a terminal cannot show."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What is done within writes a file or a folder.

    Raises:
        OSError: the system refused: a sentence of the path and its reason, in place of what was raised.
    """
    try:
        yield
    except Exception as error:
        # TensorStore's errors are of other types and long; the system's reason is a number among them
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if not (code or isinstance(error, OSError)):
            raise
        reason = os.strerror(int(code[1])) if code else error.strerror or error
        raise OSError(f"{path} cannot be written: {reason}") from None


def printable(text: str, stream: Any) -> str:
    """The text with an escape sequence for each character that the stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
