"""The study of the conditional sequence GAN, from runs that are finished, and the experiment's parts."""

import json

import numpy as np
import pytest

from experiments.sequences import translation
from experiments.sequences.translation import TranslationConfig
from experiments.studies import harness, translation_gan
from experiments.studies.translation_gan import ARMS, METRICS, TranslationGANStudy
from jaxgen.data import numerals


def test_arms_begin_with_one_generator_and_differ_in_the_critic_alone(tmp_path, monkeypatch):
    called = {}

    def run(module, out, *arguments):
        words = [word for given in arguments for word in given]
        called[out.name] = words
        out.mkdir(parents=True)
        test = {name: 20.5 + i for i, name in enumerate(METRICS) if "critic" not in name or "continued" not in out.name}
        (out / "result.json").write_text(json.dumps({"test": test, "training_seconds": 90}))

    monkeypatch.setattr(harness.commands, "run", run)
    start = tmp_path / "start"
    start.mkdir()
    config = {"width": 8, "embedding": 4, "length": 6, "min_count": 2, "level": "tokens", "cell": "lstm"}
    config |= {"dropout": 0.5, "batch_size": 16}
    test = {"bleu": 30.25, "nll_per_token": 1.5}
    (start / "result.json").write_text(json.dumps({"test": test, "training_seconds": 600, "config": config}))
    of_both = {"start": start, "data": "a_{train,test}.txt"}
    study = TranslationGANStudy(**of_both, runs=tmp_path / "runs", steps=30, critic_steps=20)
    text = translation_gan.study(study)
    assert set(called) == {harness.slug(name) for name in ("continued", *ARMS)}
    for name, words in called.items():
        assert words[words.index("--cell") + 1] == "lstm" and words[words.index("--embedding") + 1] == "4"
        assert words[words.index("--start") + 1] == str(start)
        assert words[words.index("--steps") + 1] == ("30" if name == "continued" else "50")
    shared = called["GAN_CNN"]
    for name, extra in ARMS.items():
        assert called[harness.slug(name)] == [*shared, *extra]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert cells[2] == ["maximum likelihood", "30.25", "", "1.500", "", "", "", "10.0"]
    assert cells[3] == ["continued", "20.50", "21.50", "22.500", "23.500", "", "", "1.5"]
    assert translation_gan.study(study) == text
    with pytest.raises(ValueError, match="`only` must name rows"):
        translation_gan.study(TranslationGANStudy(start=start, data="a", runs=tmp_path / "others", only=("GAN",)))


def test_bleu_is_of_words_as_they_are_written():
    test = numerals().test
    x = test.arrays["x"]
    assert abs(translation.bleu(test, x) - 100) < 1e-6
    other = np.where(x == 0, 0, 1)
    assert translation.bleu(test, other) == 0
    # an unknown word of the reference is not written by an unknown one
    test.references = tuple((f"{several[0]} zebra",) for several in test.references)
    longer = np.concatenate([x, np.zeros_like(x[:, :1])], 1)
    longer[np.arange(len(x)), (x > 0).sum(1)] = 1
    assert translation.bleu(test, longer) < 90


def test_other_sources_are_the_same_ones_in_another_order():
    shuffled = TranslationConfig(shuffled=True).open().train
    train = numerals().train
    np.testing.assert_array_equal(shuffled.arrays["x"], train.arrays["x"])
    both = (set(source.context_texts(source.arrays["context"])) for source in (shuffled, train))
    assert len(set(map(frozenset, both))) == 1
    assert (shuffled.arrays["context"] != train.arrays["context"]).any(1).mean() > 0.9


def test_conditions_of_other_kinds_are_refused():
    with pytest.raises(ValueError, match="a translation is conditioned on its source"):
        TranslationConfig(conditional=True).check()


@pytest.mark.parametrize("first", [0, 3])
def test_only_plays_of_the_schedule_have_optimizers(first):
    config = TranslationConfig(width=4, mle_steps=first, critic_steps=0, steps=4)
    experiment = translation.build(config, config.open())
    plays = {name for phase in experiment.model.phases(4) for name in phase.plays}
    assert set(experiment.optimizers) == plays and ("mle" in plays) == (first > 0)
