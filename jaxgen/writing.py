"""One-sentence errors for files that cannot be written, and text for any terminal."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Context manager around writing a file or folder.

    Raises:
        OSError: names the path and the system's reason, in place of the original error.
    """
    try:
        yield
    except Exception as error:
        # TensorStore raises other types with long messages, which contain the system's error number
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if not (code or isinstance(error, OSError)):
            raise
        reason = os.strerror(int(code[1])) if code else error.strerror or error
        raise OSError(f"{path} cannot be written: {reason}") from None


def printable(text: str, stream: Any) -> str:
    """The text, with escape sequences for characters that the stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
