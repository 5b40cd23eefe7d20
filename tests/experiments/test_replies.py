"""Replies: tests of choices, wrong replies from a file, judges, and the study, from runs that are finished."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.sequences import dialogue, replies
from experiments.sequences.dialogue import DialogueConfig
from experiments.sequences.judges import Replies, judge_accuracy
from experiments.studies import harness
from experiments.studies import replies as study_of_replies
from experiments.studies.replies import ARMS, METRICS, MLE, RepliesStudy
from jaxgen.data import sentence_pairs
from jaxgen.nets import NGramCritic, TurnCritic

RNG = np.random.default_rng(0)
LINES = [
    "hello you __eou__ how are you\tfine thanks\tvery well",
    "where is it\tover there\tin the box",
    "who is __eou__ what\tme\tyou are",
]
WRONG = [
    "hello you __eou__ how are you\tthe box\tover",
    "where is it\tfine\tunheard of",
    "who is __eou__ what\twell\tit",
]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "wrong.txt").write_text("\n".join(WRONG))
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("\n".join(LINES))
    splits = sentence_pairs("{a,b,c}.txt", tmp_path, layout="dialogue", length=4, context_length=6, long="cut")
    return splits, tmp_path


def test_wrong_replies_are_those_of_the_test_contexts(files):
    splits, folder = files
    assert dialogue.replies_per_context(splits.test) == 2
    wrong = dialogue.wrong_replies(Path("wrong.txt"), folder, splits.test)
    assert wrong.shape == (3, 2, 5)
    assert splits.test.texts(wrong.reshape(6, 5)) == ["the box", "over", "fine", "<unk> <unk>", "well", "it"]
    context, right = dialogue.contexts_and_replies(splits.test, 2)
    assert splits.test.context_texts(context)[1] == "where is it" and splits.test.texts(right[1]) == [
        "over there",
        "in the box",
    ]
    (folder / "wrong.txt").write_text("\n".join(WRONG[::-1]))
    with pytest.raises(ValueError, match="the 3 contexts"):
        dialogue.wrong_replies(Path("wrong.txt"), folder, splits.test)
    (folder / "wrong.txt").write_text("\n".join([*WRONG[:2], WRONG[2] + "\tmore"]))
    with pytest.raises(ValueError, match="as many replies"):
        dialogue.wrong_replies(Path("wrong.txt"), folder, splits.test)


def test_choices_are_by_mean_and_by_information():
    """A model whose log p(y|x) is 3 minus the reply's length if both begin with one word, minus the length if not."""

    def log_prob(x, context):
        return 3.0 * (x[:, 0] == context[:, 0]) - 4.0 * (x > 0).sum(1)

    trained = SimpleNamespace(log_prob=log_prob, end=0)
    context = np.array([[2, 0], [3, 0], [4, 0], [5, 0]])
    long = np.array([[[2, 9, 9, 0]], [[3, 9, 9, 0]], [[4, 9, 9, 0]], [[5, 9, 9, 0]]])
    short = np.array([[[8, 0, 0, 0]]] * 4)
    found = replies.choice_metrics(trained, context, long, short, 2)
    # per token with the end: (3 - 12) / 4 < -4 / 2, the wrong and short ones; less what other contexts give, 3 > 0
    assert found["choice"] == found["choice with other contexts"] == 0.0
    assert found["choice by information"] == found["choice by gain"] == 1.0
    for by in ("information", "gain"):  # no other context fits
        assert found[f"choice by {by} with other contexts"] == 0.5
    with pytest.raises(ValueError, match="`marginal` must be at most 2"):
        replies.choice_metrics(trained, context, long, short, 3)


def test_shared_words_are_different_rare_ones():
    first = 2 + replies.FREQUENT
    context = np.array([[first, 5, first + 1, 0]])
    several = np.array([[[first, first, 5], [first + 1, first, 0], [5, 6, 0]]])
    np.testing.assert_array_equal(replies.word_overlap(context, several), [[1, 2, 0]])


@pytest.mark.slow
def test_a_judge_finds_replies_that_do_not_suit_their_contexts():
    """Both kinds of replies are alike without their contexts."""
    context = np.pad(np.array([[2, 2], [3, 3]] * 50)[:, :1], ((0, 0), (0, 1))).astype(np.int32)
    kinds = Replies(context, context), Replies(np.roll(context, 1, 0), context)
    assert judge_accuracy(NGramCritic(crossed=True, per_token=True), kinds, kinds, 300, 1e-2, 0) > 0.95
    assert judge_accuracy(TurnCritic(4, 32), kinds, kinds, 300, 1e-3, 0) > 0.95
    assert judge_accuracy(TurnCritic(4, 4), kinds[:1] * 2, kinds[:1] * 2, 2, 1e-3, 0) == 0.5


def test_arms_begin_alike_and_make_equally_many_updates(tmp_path, monkeypatch):
    called = {}

    def run(module, out, *arguments):
        words = [word for given in arguments for word in given]
        called[out.name] = (module, words)
        out.mkdir(parents=True)
        test = {name: 0.5 + i for i, name in enumerate(METRICS)} | {"nll_per_token": 0.0, "human or human": 0.25}
        result = {
            "test": test,
            "training_seconds": 60,
            "wall_seconds": 90,
            "baselines": {"choice by shared words": 0.5},
        }
        (out / "result.json").write_text(json.dumps({**result, "config": {"steps": 7}, "command": "c"}))

    monkeypatch.setattr(harness.commands, "run", run)
    monkeypatch.setattr(study_of_replies, "samples", lambda config, names: ", ".join(names))
    config = RepliesStudy(runs=tmp_path / "runs", updates=30, critic_steps=20)
    text = study_of_replies.study(config)
    assert list(called) == ["maximum_likelihood", *(harness.slug(name) for name in ARMS)]
    first = str(tmp_path / "runs" / "maximum_likelihood")
    for name in ARMS:
        module, words = called[harness.slug(name)]
        values = {a: b for a, b in zip(words, words[1:], strict=False)}
        assert module == "sequences.dialogue" and values["--start"] == first and values["--mle-steps"] == "0"
        assert int(values["--steps"]) - int(values["--critic-steps"]) == 60
    assert "--reward" not in called["adversarial"][1] and "--judge-controls" in called["maximum_likelihood"][1]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert (
        [line[0] for line in cells[2:]] == [MLE, *ARMS] and cells[2][1:3] == ["1.00", "150.0"] and cells[2][-1] == "1.5"
    )
    critics = cells[0].index("critic accuracy")
    assert [line[critics] != "" for line in cells[2:]] == [False, True, False, False]
    assert "Choice by shared words: 50.0." in text and "human or human: 25.0" in text
    assert study_of_replies.study(config) == text
    others = RepliesStudy(runs=tmp_path / "others", start=tmp_path / "runs" / "maximum_likelihood")
    called.clear()
    study_of_replies.study(others)
    assert "maximum_likelihood" not in called and len(called) == 3


def test_samples_of_the_arms_are_of_the_data_that_they_learned_from(files, tmp_path, monkeypatch):
    """All words are known, by the preset nearly none."""
    splits, folder = files
    data = str(folder / "{a,b,c}.txt")
    config = RepliesStudy(data=data, options="--min-count 1 --length 4 --context-length 6", runs=tmp_path)
    found = []
    monkeypatch.setattr(study_of_replies.jaxgen, "load", lambda run: None)

    def sample(trained, key, context):
        found.append(context)
        return np.zeros((len(context), 5), int)

    monkeypatch.setattr(study_of_replies, "sample", sample)
    text = study_of_replies.samples(config, [MLE])
    assert "over there" in text and "<unk>" not in text
    rows = np.linspace(0, len(splits.test) - 1, study_of_replies.EXAMPLES).astype(int)
    np.testing.assert_array_equal(found[0], splits.test.arrays["context"][rows])


def test_a_reply_is_conditioned_on_its_context_alone():
    with pytest.raises(ValueError, match="`conditional`"):
        DialogueConfig(conditional=True).check()


@pytest.mark.parametrize(
    "fields, names",
    [
        ({}, ["critic", "mle", "policy", "teacher_forcing"]),
        ({"mle_steps": 0}, ["critic", "policy", "teacher_forcing"]),
        ({"mle_steps": 0, "critic_steps": 0, "reward": "constant"}, ["policy", "teacher_forcing"]),
        ({"system": "mle"}, ["mle"]),
        ({"system": "teacher_forcing", "mle_steps": 0}, ["teacher_forcing"]),
    ],
)
def test_only_plays_of_the_schedule_have_optimizers(fields, names):
    config = DialogueConfig(preset="small", **{**DialogueConfig.PRESETS["small"], "width": 4, **fields})
    assert sorted(dialogue.build(config, config.open()).optimizers) == names
