"""Texts with one record a line as sequences of word indices: sentences, translations, dialogues, stories."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxgen.data import checks, text
from jaxgen.data.arrays import ArraySource
from jaxgen.data.errors import DataError
from jaxgen.data.files import SPLITS
from jaxgen.data.splits import Splits, carve
from jaxgen.data.vocabulary import SPLIT, Level, Vocabulary, build_vocabulary

Layout = Literal["translation", "dialogue", "story"]
LENGTH = 20
Words = list[str]


class TokenSource(ArraySource):
    """Sequences of word indices; `"x"` is int32 [N, T], a sentence and ends (index 0) after it.

    `"context"`, if there is one, is int32 [N, S], such as the sentence to translate. `levels` is the size of the
    vocabulary of `"x"`.

    Attributes:
        vocabulary: of `"x"`.
        context_vocabulary: of `"context"`; None without one.
        references: by example, the texts that are right: whole sentences of known and unknown words.
    """

    def __init__(
        self, arrays: Mapping[str, Any], *, vocabulary: Vocabulary, context_vocabulary: Vocabulary | None = None,
        references: Sequence[tuple[str, ...]] = (), name: str = "sentences",
    ):  # fmt: skip
        super().__init__(arrays, levels=len(vocabulary), name=name)
        self.vocabulary, self.context_vocabulary = vocabulary, context_vocabulary
        self.references = tuple(references)

    def texts(self, tokens: Iterable[Any]) -> list[str]:
        """Sequences of indices, this source's or a model's, as texts."""
        return self.vocabulary.texts(tokens)

    def context_texts(self, context: Iterable[Any]) -> list[str]:
        """Contexts as texts.

        Raises:
            DataError: the source has no contexts.
        """
        if self.context_vocabulary is None:
            raise DataError(f"{self.name} must have contexts to be read, got none")
        return self.context_vocabulary.texts(context)

    def subset(self, indices: np.ndarray) -> TokenSource:
        indices = checks.check_indices(indices, self.name, len(self))
        return self._of(self.take(indices), [self.references[i] for i in indices] if self.references else ())

    def with_arrays(self, **arrays: Any) -> TokenSource:
        """The same source with arrays replaced or added, such as contexts in another order."""
        return self._of({**self.arrays, **arrays}, self.references)

    def _with(self, arrays: Mapping[str, Any]) -> TokenSource:
        return self._of(arrays, self.references)

    def _of(self, arrays: Mapping[str, Any], references: Sequence[tuple[str, ...]]) -> TokenSource:
        vocabularies = {"vocabulary": self.vocabulary, "context_vocabulary": self.context_vocabulary}
        return TokenSource(arrays, references=references, name=self.name, **vocabularies)


@dataclasses.dataclass(frozen=True)
class _Records:
    """The lines of a file as lists of fields, or as words."""

    records: list[Any]
    name: str

    def __len__(self) -> int:
        return len(self.records)

    def subset(self, indices: np.ndarray) -> _Records:
        return _Records([self.records[i] for i in indices], self.name)


class _Pair(NamedTuple):
    context: Words
    words: Words
    references: tuple[str, ...]


def sentences(
    name: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None, *, level: Level = "tokens",
    length: int = LENGTH, min_count: int = 1, max_words: int | None = None, long: Literal["drop", "cut"] = "drop",
) -> Splits:  # fmt: skip
    """Opens sentences, one a line: splits of `TokenSource` with `"x"` [N, length + 1], and one reference for each.

    Args:
        name: of a UTF-8 .txt or .txt.gz file, or of one for each split, as `captions_{train,valid,test}.txt`: three
            names are of training, validation and test data, two of training and test data. Missing splits are taken
            from the training lines at random (`carve`), before the vocabulary is made of these.
        data_dir: the folder of relative paths.
        level: `tokens`: lower case, split into words and punctuation marks; `words`: split at white space; or
            `characters`.
        length: the greatest number of words.
        min_count, max_words: words that occur less often in the training lines, and those beyond the `max_words` most
            frequent ones, are unknown.
        long: longer training sentences are dropped, or cut as those of the other splits are.

    Raises:
        DataError: files that cannot be read, without a record, or without a word for the vocabulary.
    """
    splits = _opened(name, data_dir, level, long, min_fields=1)
    to_words, length = SPLIT[level], checks.whole("length", length, 1)
    parts = [_Records([to_words(line[0]) for line in part.records], part.name) for part in splits]
    vocabulary = build_vocabulary(parts[0].records, level, min_count, max_words)
    sources = []
    for split, part in zip(SPLITS, parts, strict=True):
        kept = [words for words in part.records if words and _fits(words, length, long, split)]
        _require(kept, part.name, f"sentences of 1 to {length} words")
        x = vocabulary.encode(kept, length)
        references = [(" ".join(words),) for words in kept]
        sources.append(TokenSource({"x": x}, vocabulary=vocabulary, references=references, name=part.name))
    return Splits(*sources)


def sentence_pairs(
    name: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None, *, layout: Layout = "translation",
    level: Level = "tokens", length: int = LENGTH, context_length: int | None = None, min_count: int = 1,
    max_words: int | None = None, long: Literal["drop", "cut"] = "drop",
) -> Splits:  # fmt: skip
    """Opens pairs of a context and a sentence: splits of `TokenSource` with `"context"` [N, S] and `"x"` [N, T].

    The fields of a line are separated by tabs:
        - `translation`: the source, and the target, with vocabularies of their own;
        - `dialogue`: the context, whose turns may be joined by a word such as `__eou__`, and its responses, each of
          which makes a pair; all of them are references;
        - `story`: sentences, of which the last is to be told after the others.

    Args:
        name, data_dir, level, min_count, max_words: as in `sentences`.
        length: the greatest number of words of a sentence; T = length + 1.
        context_length: of a context; None: as `length`.
        long: longer training pairs are dropped; contexts of other splits are then whole, so that S may be greater
            there. Or they are cut as those of the other splits are. A cut keeps the first words of a sentence, the
            last words of a context.

    Raises:
        DataError: as `sentences`; a line with too few fields.
    """
    if layout not in ("translation", "dialogue", "story"):
        raise DataError(f"`layout` must be 'translation', 'dialogue' or 'story', got {layout!r:.80}")
    splits = _opened(name, data_dir, level, long, min_fields=2)
    length = checks.whole("length", length, 1)
    context_length = length if context_length is None else checks.whole("context_length", context_length, 1)
    parts = [[pair for line in part.records for pair in _pairs(line, layout, level)] for part in splits]
    limits = {"level": level, "min_count": min_count, "max_words": max_words}
    if layout == "translation":
        vocabulary = build_vocabulary((pair.words for pair in parts[0]), **limits)
        context_vocabulary = build_vocabulary((pair.context for pair in parts[0]), **limits)
    else:
        contexts = dict.fromkeys(tuple(pair.context) for pair in parts[0])
        vocabulary = context_vocabulary = build_vocabulary([*contexts, *(pair.words for pair in parts[0])], **limits)
    sources = []
    for split, part, opened in zip(SPLITS, parts, splits, strict=True):
        fits = partial(_fits, long=long, split=split)
        kept = [pair for pair in part if fits(pair.words, length) and fits(pair.context, context_length)]
        _require(kept, opened.name, f"sentences of 1 to {length} words with contexts of 1 to {context_length}")
        whole = max(len(pair.context) for pair in kept) if long == "drop" and split != "train" else context_length
        arrays = {
            "x": vocabulary.encode((pair.words for pair in kept), length),
            "context": context_vocabulary.encode((pair.context for pair in kept), max(whole, context_length), "last"),
        }
        vocabularies = {"vocabulary": vocabulary, "context_vocabulary": context_vocabulary}
        references = [pair.references for pair in kept]
        sources.append(TokenSource(arrays, references=references, name=opened.name, **vocabularies))
    return Splits(*sources)


def numerals() -> Splits:
    """The numbers below a thousand as pairs: `"context"` [N, 4] has the digits, `"x"` [N, 6] the English words, such as
    `7 0 5` and `seven hundred and five`.

    800 pairs, the same each time, are for training, 100 for validation and 100 for tests. A translator can learn all of
    it; no file is needed.
    """
    digits, vocabulary = Vocabulary([*"0123456789"], "characters"), Vocabulary([*_UNITS, *_TENS, "hundred", "and"])
    sources = []
    for part in np.split(np.random.default_rng(0).permutation(1000), [800, 900]):
        words = [_words_of(n) for n in part]
        arrays = {"x": vocabulary.encode(words, 5), "context": digits.encode(map(str, part), 3)}
        vocabularies = {"vocabulary": vocabulary, "context_vocabulary": digits}
        references = [(" ".join(one),) for one in words]
        sources.append(TokenSource(arrays, references=references, name="numerals", **vocabularies))
    return Splits(*sources)


_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def _words_of(n: int) -> Words:
    """A number below a thousand in English words."""
    if n < 20:
        return [_UNITS[n]]
    if n < 100:
        return [_TENS[n // 10 - 2], *([_UNITS[n % 10]] if n % 10 else [])]
    return [_UNITS[n // 100], "hundred", *(["and", *_words_of(n % 100)] if n % 100 else [])]


def expand(name: str) -> list[str]:
    """`a_{b,c}.txt` as [`a_b.txt`, `a_c.txt`]; a name without braces as itself."""
    match = re.fullmatch(r"([^{}]*)\{([^{}]*)\}([^{}]*)", name)
    return [name] if match is None else [match[1] + part.strip() + match[3] for part in match[2].split(",")]


def _opened(name: Any, data_dir: Any, level: str, long: str, min_fields: int) -> tuple[_Records, _Records, _Records]:
    """The lines of each split as lists of fields."""
    if level not in SPLIT:
        raise DataError(f"`level` must be one of {list(SPLIT)}, got {level!r:.80}")
    if long not in ("drop", "cut"):
        raise DataError(f"`long` must be 'drop' or 'cut', got {long!r:.80}")
    names = expand(checks.path("sentences", name))
    if not 1 <= len(names) <= 3 or not all(one.endswith(text.SUFFIXES) for one in names):
        raise DataError(
            f"`sentences` must be the path of a .txt or .txt.gz file, or of two or three as "
            f"'name_{{train,valid,test}}.txt', got {name!r:.80}"
        )
    folder = checks.location("data_dir", data_dir or "")
    files = []
    for one in names:
        path = folder / os.path.expanduser(one)
        lines = [[field.strip() for field in line.split("\t")] for line in text.read(path).split("\n") if line.strip()]
        for i, line in enumerate(lines):
            if len(line) < min_fields or not all(line[:min_fields]):
                raise DataError(f"{path}: lines must have {min_fields} fields between tabs, got {line} in record {i}")
        files.append(_Records(lines, path.name))
        _require(lines, path.name, "a record")
    train, *others = files
    valid, test = (None, *others) if len(others) == 1 else others or (None, None)
    splits = carve(train, valid, test)
    return tuple(_Records(part.records, f"{part.name} ({split})") for split, part in zip(SPLITS, splits, strict=True))


def _pairs(fields: Sequence[str], layout: Layout, level: Level) -> list[_Pair]:
    """The pairs of a line, without those that have no word."""
    to_words = SPLIT[level]
    context, targets = fields[:1], fields[1:]
    if layout == "translation":
        targets = fields[1:2]
    elif layout == "story":
        context, targets = fields[:-1], fields[-1:]
    words = to_words(" ".join(context))
    each = [target for target in map(to_words, targets) if target]
    references = tuple(" ".join(target) for target in each)
    return [_Pair(words, target, references) for target in each if words]


def _fits(words: Words, length: int, long: str, split: str) -> bool:
    """Whether an example is kept: a long one is dropped from the training split, or cut."""
    return long == "cut" or split != "train" or len(words) <= length


def _require(records: Sequence[Any], name: str, needed: str) -> None:
    if not records:
        raise DataError(f"{name} must have {needed}, got none")
