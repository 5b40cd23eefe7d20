"""Words of texts, and their indices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np

from jaxgen.data.checks import whole
from jaxgen.data.errors import DataError

END, UNKNOWN = 0, 1
"""The indices of the end of a sequence, which is also its padding, and of words that are not in the vocabulary."""
UNKNOWN_WORD = "<unk>"

Level = Literal["tokens", "words", "characters"]
SPLIT: dict[str, Callable[[str], list[str]]] = {
    "tokens": lambda text: re.findall(r"\w+|[^\w\s]", text.lower()),
    "words": str.split,
    "characters": lambda text: [character for character in text if not character.isspace()],
}
"""How a text becomes words: lower case, words and single punctuation marks; words between white space, of texts that
are tokenised already; or characters other than white space, such as Chinese ones."""


class Vocabulary:
    """Indices of words: 0 is the end of a sequence and its padding, 1 an unknown word, then `words` in their order.

    Args:
        words: without repetition.
        level: how texts are split into words (`SPLIT`) and joined.

    Raises:
        DataError: no words, repeated ones, or an unknown level.
    """

    def __init__(self, words: Sequence[str], level: Level = "tokens"):
        if level not in SPLIT:
            raise DataError(f"`level` must be one of {list(SPLIT)}, got {level!r:.80}")
        self.words, self.level = tuple(words), level
        self._index = {word: index for index, word in enumerate(self.words, UNKNOWN + 1)}
        if not self.words or len(self._index) < len(self.words):
            raise DataError(f"`words` must be different words, at least one, got {len(self.words)}")

    def __len__(self) -> int:
        return UNKNOWN + 1 + len(self.words)

    def split(self, text: str) -> list[str]:
        """The words of a text, known and unknown ones."""
        return SPLIT[self.level](text)

    def encode(
        self, sentences: Iterable[Sequence[str]], length: int, keep: Literal["first", "last"] = "first"
    ) -> np.ndarray:
        """Sentences, lists of words, to int32 [N, length + 1]: their indices, then ends.

        Args:
            length: the greatest number of words.
            keep: which words of longer sentences are kept.
        """
        sentences = list(sentences)
        tokens = np.full((len(sentences), whole("length", length, 1) + 1), END, np.int32)
        for row, words in zip(tokens, sentences, strict=True):
            kept = words[:length] if keep == "first" else words[-length:]
            row[: len(kept)] = [self._index.get(word, UNKNOWN) for word in kept]
        return tokens

    def decode(self, tokens: Iterable[Any]) -> list[list[str]]:
        """Sequences of indices to their words before the first end."""
        sentences = []
        for sequence in tokens:
            indices = without_end(sequence)
            sentences.append([UNKNOWN_WORD if i == UNKNOWN else self.words[i - UNKNOWN - 1] for i in indices])
        return sentences

    def texts(self, tokens: Iterable[Any]) -> list[str]:
        """Sequences of indices as texts: their words before the first end, joined by spaces unless characters."""
        return [("" if self.level == "characters" else " ").join(words) for words in self.decode(tokens)]


def without_end(tokens: Any) -> list[int]:
    """A sequence of indices [T] before its first end."""
    indices = np.asarray(tokens).tolist()
    return indices[: indices.index(END)] if END in indices else indices


def build_vocabulary(
    sentences: Iterable[Sequence[str]], level: Level = "tokens", min_count: int = 1, max_words: int | None = None
) -> Vocabulary:
    """The words of sentences (lists of words) by falling frequency; equally frequent ones in alphabetical order.

    Args:
        min_count: rarer words are unknown.
        max_words: the number of words to keep; None: all.

    Raises:
        DataError: no word is left.
    """
    min_count = whole("min_count", min_count, 1)
    max_words = None if max_words is None else whole("max_words", max_words, 1)
    counts = Counter(word for words in sentences for word in words)
    kept = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
    if not kept:
        raise DataError(f"a vocabulary needs words that occur min_count={min_count} times, got {len(counts)} rarer")
    return Vocabulary(kept[:max_words], level)
