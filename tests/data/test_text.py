import gzip

import numpy as np
import pytest

from jaxgen.data import DataError, source
from jaxgen.data.text import TextSource, load


@pytest.fixture
def save(tmp_path):
    def save(text, name="book.txt"):
        content = text.encode() if isinstance(text, str) else text
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return source(name, data_dir=tmp_path)

    return save


def numbered(n):
    """Text whose every window of 64 says which it is."""
    return "".join(f"{i:03d}".ljust(64, "ab\n"[i % 3]) for i in range(n))


@pytest.mark.parametrize("name", ["book.txt", "book.txt.gz"])
def test_windows_are_split_in_their_order(save, name):
    splits = save(numbered(43) + "the end", name)
    assert [len(part) for part in splits] == [35, 4, 4]
    windows = [window for part in splits for window in part.texts(part.arrays["x"])]
    assert [int(window[:3]) for window in windows] == list(range(43)) and "".join(windows) == numbered(43)
    for part, split in zip(splits, ("train", "valid", "test"), strict=True):
        assert part.event_shape == (64,) and part.arrays["x"].dtype == np.uint8
        assert part.vocabulary == "\n 0123456789abdehnt" and part.levels == 19
        assert part.name == f"{name} ({split})"


def test_many_characters_are_int32_and_come_back(save):
    text = "".join(chr(0x4E00 + i % 300) for i in range(640)) + "\U0001f600" * 64 * 3
    splits = save(text)
    assert splits.train.levels == 301 and splits.train.arrays["x"].dtype == np.int32
    assert "".join(row for part in splits for row in part.texts(part.arrays["x"])) == text
    assert splits.test.arrays["x"].min() == 300


def test_sources_made_of_one_keep_its_vocabulary(save):
    train = save(numbered(30)).train
    some = train.subset(np.array([2, 0])).with_context(lambda rows: rows["x"][:, :1].astype(np.float32))
    assert isinstance(some, TextSource) and some.texts(some.arrays["x"]) == train.texts(train.arrays["x"][[2, 0]])


def test_line_breaks_are_one_character_and_windows_any_length(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"ab\r\ncd\n" * 10)
    splits = load(tmp_path / "a.txt", window=6)
    assert splits.train.vocabulary == "\nabcd" and splits.train.texts(splits.train.arrays["x"][:2]) == ["ab\ncd\n"] * 2


def test_a_source_has_windows_of_any_length(tmp_path):
    (tmp_path / "a.txt").write_text("abc" * 40)
    assert source("a.txt", data_dir=tmp_path, window=5).train.event_shape == (5,)
    with pytest.raises(DataError, match="`window` must be an integer of at least 1, got 0"):
        source("a.txt", data_dir=tmp_path, window=0)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("short", "book.txt", "book.txt must have at least 192 characters to be split, got 5"),
        ("a" * 500, "book.txt", "book.txt must have two different characters, got only 'a'"),
        (b"\xff\xfe" * 500, "book.txt", "book.txt cannot be read as UTF-8 text"),
        (gzip.compress(b"ab" * 500, mtime=0)[:-9], "cut.txt", "cut.txt cannot be read as UTF-8 text"),
    ],
    ids=["short", "one character", "no text", "compressed"],
)
def test_wrong_texts_are_refused_by_name(save, content, name, message):
    with pytest.raises(DataError, match=message):
        save(content, name)


def test_damaged_and_missing_files_are_named(tmp_path):
    whole = gzip.compress(b"some text\n" * 500)
    contents = {"cut.txt.gz": whole[:-9], "plain.txt.gz": b"some text", "body.txt.gz": whole[:20] + b"x" * 20}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            source(tmp_path / name)
    with pytest.raises(
        DataError, match="none.txt must be the path of a .txt or .txt.gz file, got a file that does not exist"
    ):
        source("none.txt", data_dir=tmp_path)
    with pytest.raises(DataError, match=r"the path of a .npy, .npz, .txt or .txt.gz file"):
        source("book.text")
