"""Texts with one record a line: vocabularies of the training split, ends, pairs, references."""

import gzip

import numpy as np
import pytest

from jaxgen.data import DataError, Splits, TokenSource, Vocabulary, numerals, sentence_pairs, sentences
from jaxgen.data.sentences import expand
from jaxgen.data.vocabulary import END, UNKNOWN, build_vocabulary


@pytest.fixture
def write(tmp_path):
    def write(**files):
        for name, lines in files.items():
            content = "\n".join(lines).encode()
            (tmp_path / f"{name}.txt").write_bytes(content)
            (tmp_path / f"{name}.txt.gz").write_bytes(gzip.compress(content))
        return tmp_path

    return write


TRAIN = ["A dog runs.", "The dog, a DOG!", "a cat sleeps on the very long red sofa ."]
VALID = ["a cat"]
TEST = ["a zebra runs. Very fast!", "zebra"]


def test_words_are_in_the_order_of_their_frequency_and_rare_ones_unknown():
    vocabulary = build_vocabulary([["b", "a", "c"], ["b", "c", "b"], ["d"]])
    assert vocabulary.words == ("b", "c", "a", "d") and len(vocabulary) == 6
    assert build_vocabulary([["b", "a"], ["b"]], min_count=2).words == ("b",)
    assert build_vocabulary([["b", "a", "c", "c"], ["b"]], max_words=2).words == ("b", "c")
    tokens = vocabulary.encode([["a", "b"], ["zebra"], [], ["a", "b", "c", "d"]], 3)
    np.testing.assert_array_equal(tokens, [[4, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [4, 2, 3, 0]])
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(vocabulary.encode([["a", "b", "c", "d"]], 3, keep="last"), [[2, 3, 5, 0]])
    assert vocabulary.texts(tokens) == ["a b", "<unk>", "", "a b c"]
    # what follows the first end is not text
    assert vocabulary.texts([[4, END, 4, UNKNOWN]]) == ["a"]


@pytest.mark.parametrize("suffix", ["txt", "txt.gz"])
def test_sentences_of_three_files(write, suffix):
    folder = write(a_train=TRAIN, a_valid=VALID, a_test=TEST)
    splits = sentences(f"a_{{train, valid,test}}.{suffix}", folder, length=6)
    train, valid, test = splits
    # the training sentence of nine words is dropped; its words are in the vocabulary
    assert [len(split) for split in splits] == [2, 1, 2] and isinstance(splits, Splits)
    assert {"sofa", "very"} < set(train.vocabulary.words) and "zebra" not in train.vocabulary.words
    assert train.vocabulary.words[:3] == ("a", "dog", ".") and train.levels == len(train.vocabulary)
    assert train.texts(train.arrays["x"]) == ["a dog runs .", "the dog , a dog !"]
    # sentences of other splits are cut, their references are not
    assert test.texts(test.arrays["x"]) == ["a <unk> runs . very <unk>", "<unk>"]
    assert test.references == (("a zebra runs . very fast !",), ("zebra",))
    assert test.event_shape == (7,) and test.arrays["x"][:, -1].tolist() == [0, 0]
    assert valid.name == f"a_valid.{suffix} (valid)" and test.arrays["x"].dtype == np.int32


def test_long_training_sentences_are_cut_on_request(write):
    folder = write(a_train=TRAIN, a_test=TEST, a_valid=VALID)
    train = sentences("a_{train,valid,test}.txt", folder, length=4, long="cut").train
    assert train.texts(train.arrays["x"]) == ["a dog runs .", "the dog , a", "a cat sleeps on"]


def test_missing_splits_come_from_the_training_lines_and_not_into_the_vocabulary(write):
    folder = write(one=[f"word{i} again" for i in range(40)])
    splits = sentences("one.txt", folder, length=2)
    assert [len(split) for split in splits] == [32, 4, 4]
    words = [text.split()[0] for (text,) in splits.train.references]
    assert set(splits.train.vocabulary.words) == {*words, "again"}
    held_out = [text for split in (splits.valid, splits.test) for text in split.texts(split.arrays["x"])]
    assert held_out == ["<unk> again"] * 8
    everything = {text for split in splits for (text,) in split.references}
    assert everything == {f"word{i} again" for i in range(40)}
    two = sentences("one{,}.txt", folder, length=2)
    assert [len(split) for split in two] == [36, 4, 40] and two.test.name == "one.txt (test)"


def test_levels_of_words(write):
    folder = write(poem=["秦 川 雄 ， 。", "塞外，", "川 秦 。"] * 10, plain=["It's A dog."] * 10)
    poems = sentences("poem.txt", folder, level="characters", length=5).train
    assert set(poems.vocabulary.words) == set("秦川雄，。塞外") and "秦川雄，。" in poems.texts(poems.arrays["x"])
    assert sentences("plain.txt", folder, level="words").train.vocabulary.words == ("A", "It's", "dog.")
    assert sentences("plain.txt", folder).train.vocabulary.split("It's A dog.") == ["it", "'", "s", "a", "dog", "."]


def test_translations_have_a_vocabulary_a_side(write):
    lines = ["a dog\tein Hund", "a cat\teine Katze schläft hier", "a very big cat\tKatze", "dog\thund"]
    folder = write(b_train=lines, b_test=["a very big dog runs\tein großer Hund"])
    train, valid, test = sentence_pairs("b_{train,test,test}.txt", folder, length=3)
    assert len(train) == 2 and len(test) == len(valid) == 1
    assert train.texts(train.arrays["x"]) == ["ein hund", "hund"]
    assert train.context_texts(train.arrays["context"]) == ["a dog", "dog"]
    assert "hund" not in train.context_vocabulary.words and "schläft" in train.vocabulary.words
    # the contexts of other splits are whole, their targets as long as those of training
    assert test.context_texts(test.arrays["context"]) == ["a very big dog <unk>"]
    assert test.event_shape == (4,) and test.arrays["context"].shape == (1, 6)
    assert test.references == (("ein großer hund",),)


def test_dialogues_have_a_pair_for_each_response_and_all_of_them_as_references(write):
    lines = ["Hi ! __eou__ How are you ?\tFine .\tWell\tBad", "Go\tNo\tYes\t"]
    folder = write(c_train=lines, c_test=lines[:1])
    train, _, test = sentence_pairs("c_{train,test,test}.txt", folder, layout="dialogue", context_length=5, long="cut")
    assert train.texts(train.arrays["x"]) == ["fine .", "well", "bad", "no", "yes"]
    assert train.references == (("fine .", "well", "bad"),) * 3 + (("no", "yes"),) * 2
    # the last words of a context are kept, and one vocabulary serves both
    assert train.context_texts(train.arrays["context"])[0] == "__eou__ how are you ?"
    assert train.vocabulary is train.context_vocabulary and test.arrays["context"].shape == (3, 6)
    part = train.subset(np.array([4, 0]))
    assert isinstance(part, TokenSource) and part.references == (train.references[4], train.references[0])
    assert part.texts(part.arrays["x"]) == ["yes", "fine ."]
    turned = train.with_arrays(context=train.arrays["context"][::-1])
    assert turned.context_texts(turned.arrays["context"])[0] == "go" and turned.references == train.references


def test_the_last_sentence_of_a_story_is_told_after_the_others(write):
    folder = write(d=["one .\ttwo .\tthree .\tthe end .", "a .\tb .\tc ."] * 5)
    train = sentence_pairs("d.txt", folder, layout="story", level="words").train
    pairs = set(zip(train.context_texts(train.arrays["context"]), train.texts(train.arrays["x"]), strict=True))
    assert pairs == {("one . two . three .", "the end ."), ("a . b .", "c .")}


def test_sentences_without_a_word_are_dropped(write):
    folder = write(e_train=["a b", "   ", "a\t \t"], e_valid=["a"], e_test=["a"])
    assert len(sentences("e_{train,valid,test}.txt", folder).train) == 2


def test_names_are_expanded():
    assert expand("a_{x, y}.txt.gz") == ["a_x.txt.gz", "a_y.txt.gz"] and expand("a.txt") == ["a.txt"]


@pytest.mark.parametrize(
    ("open_", "name", "fields", "message"),
    [
        (sentences, "f.npz", {}, "`sentences` must be the path of a .txt or .txt.gz file"),
        (sentences, "f_{a,b,c,d}.txt", {}, "`sentences` must be the path"),
        (sentences, "f.txt", {"level": "bytes"}, "`level` must be one of"),
        (sentences, "f.txt", {"long": "keep"}, "`long` must be 'drop' or 'cut', got 'keep'"),
        (sentences, "f.txt", {"length": 0}, "length must be an integer >= 1"),
        (sentences, "f.txt", {"length": 1}, r"f.txt \(train\) must have sentences of 1 to 1 words, got none"),
        (sentences, "f.txt", {"min_count": 99}, "a vocabulary needs words that occur min_count=99 times"),
        (sentences, "f.txt", {"max_words": 0}, "max_words must be an integer >= 1"),
        (sentences, "none.txt", {}, "none.txt must be the path of a .txt or .txt.gz file, got a file that does not"),
        (sentences, "empty.txt", {}, "empty.txt must have a record, got none"),
        (sentence_pairs, "f.txt", {}, r"f.txt: lines must have 2 fields between tabs, got \['two words'\]"),
        (sentence_pairs, "g.txt", {"layout": "poem"}, "`layout` must be 'translation', 'dialogue' or 'story', got 'po"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(write, open_, name, fields, message):
    folder = write(f=["two words"] * 9, g=["a\tb"] * 9, empty=[""])
    with pytest.raises(DataError, match=message):
        open_(name, folder, **fields)


def test_bad_vocabularies_are_refused():
    for words, level in ((["a", "a"], "tokens"), ([], "tokens"), (["a"], "syllables")):
        with pytest.raises(DataError, match="`words` must be different|`level` must be one of"):
            Vocabulary(words, level)
    splits = TokenSource({"x": np.array([[2, 0]])}, vocabulary=Vocabulary(["a"]))
    with pytest.raises(DataError, match="must have contexts to be read, got none"):
        splits.context_texts([[2]])
    with pytest.raises(DataError, match=r"must be in 0\.\.2"):
        TokenSource({"x": np.array([[3, 0]])}, vocabulary=Vocabulary(["a"]))


def test_numerals_are_every_number_once():
    splits = numerals()
    assert [len(split) for split in splits] == [800, 100, 100]
    pairs = dict(
        pair for split in splits for pair in zip(
            split.context_texts(split.arrays["context"]), split.texts(split.arrays["x"]), strict=True
        )
    )  # fmt: skip
    assert len(pairs) == 1000
    assert all(split.references[0] == (split.texts(split.arrays["x"][:1])[0],) for split in splits)
    assert pairs["705"] == "seven hundred and five" and pairs["13"] == "thirteen" and pairs["40"] == "forty"
    assert pairs["999"] == "nine hundred and ninety nine" and pairs["0"] == "zero" and pairs["300"] == "three hundred"
