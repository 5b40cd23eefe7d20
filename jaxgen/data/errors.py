"""The exception of datasets, and helpers for its messages."""

import difflib
from collections.abc import Iterable


class DataError(ValueError):
    """A dataset or an argument is invalid; the message names it, what is accepted and what it got."""


def one_line(error: Exception) -> str:
    """The beginning of a library's message, in one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."


def near_misses(name: str, names: Iterable[str]) -> str:
    """`"; did you mean 'digits'?"` if some of `names` resemble `name`, else an empty string."""
    close = difflib.get_close_matches(name, list(names), n=3)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
