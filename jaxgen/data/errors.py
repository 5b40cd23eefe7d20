"""What the package raises when a dataset, or a question put to one, is not as it must be."""

import difflib
from collections.abc import Iterable


class DataError(ValueError):
    """A dataset or an argument is wrong; the message names it, says what was given and what is accepted."""


def one_line(error: Exception) -> str:
    """The beginning of a library's message, in one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."


def near_misses(name: str, names: Iterable[str]) -> str:
    """`"; did you mean 'digits'?"` where some of `names` resemble `name`, and nothing where none does."""
    close = difflib.get_close_matches(name, list(names), n=3)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
