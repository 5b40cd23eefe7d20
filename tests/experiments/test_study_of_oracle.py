"""The study of SeqGAN's oracle: samples that need no training against their definitions, and arms from fake runs."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments.sequences import seq_gan
from experiments.sequences.seq_gan import SeqGANConfig
from experiments.studies import harness, oracle
from experiments.studies.oracle import ARMS, OracleStudy, bigram_table, repeated_training_set, uniform_words
from jaxgen.models.sequences import SeqGAN
from jaxgen.nets import TokenRNN, TokenRNNCritic
from jaxgen.training.trained import TrainedModel

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 4, (6, 5))


def test_a_table_of_bigrams_has_their_frequencies_and_knows_its_likelihood():
    train = np.array([[0, 1, 0, 1, 2], [0, 1, 2, 1, 0], [3, 0, 1, 0, 1]])
    held_out = np.array([[0, 1, 0, 1, 2], [0, 1, 1, 0, 1], [3, 0, 1, 2, 1], [1, 0, 1, 0, 1]])
    samples, own, of_data = bigram_table(train, 5, held_out, 4000)
    counts = np.zeros((5, 5))
    for row in train:
        np.add.at(counts, (row[:-1], row[1:]), 1)
    transitions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    first = np.array([2 / 3, 0, 0, 1 / 3, 0])

    def log_prob(row):
        with np.errstate(divide="ignore"):
            return np.log(first[row[0]]) + np.log(transitions[row[:-1], row[1:]]).sum()

    np.testing.assert_allclose(of_data, [log_prob(row) for row in held_out])
    assert np.isinf(of_data).tolist() == [False, True, False, True]
    np.testing.assert_allclose(own, [log_prob(row) for row in samples])
    found = np.zeros((5, 5))
    np.add.at(found, (samples[:, :-1].ravel(), samples[:, 1:].ravel()), 1)
    rows = found.sum(1) > 0
    np.testing.assert_allclose((found / np.maximum(found.sum(1, keepdims=True), 1))[rows], transitions[rows], atol=0.03)


def test_words_that_are_only_last_are_followed_by_any():
    train = np.array([[0, 1, 2], [0, 1, 2]])
    samples, own, _ = bigram_table(train, 4, train, 500)
    assert set(map(tuple, samples)) == {(0, 1, 2)} and np.all(own == 0)
    longer = np.array([[0, 2, 2], [0, 1, 2]])
    samples, own, _ = bigram_table(longer, 4, longer, 500)
    assert np.isfinite(own).all() and len(samples) == 500
    samples, own, _ = bigram_table(np.array([[0, 1], [1, 2]]), 3, train[:, :2], 500)
    assert np.isfinite(own).all()


def test_uniform_words_and_repeated_sequences():
    samples, own, of_data = uniform_words(TRAIN, 8, TRAIN[:2], 300)
    assert samples.shape == (300, 5) and samples.max() == 7 and np.allclose(own, -5 * np.log(8)) and len(of_data) == 2
    held_out = np.concatenate([TRAIN[2:3], 3 - TRAIN[:1]])
    samples, own, of_data = repeated_training_set(TRAIN, 8, held_out, 300)
    assert {tuple(row) for row in samples} == {tuple(row) for row in TRAIN}
    assert np.allclose(own, -np.log(6)) and of_data[0] == -np.log(6) and np.isinf(of_data[1])


@pytest.mark.slow
def test_all_arms_start_from_one_generator_and_have_as_many_rounds(tmp_path, monkeypatch):
    model = SeqGAN(TokenRNN(100, 20, 2, 2), TokenRNNCritic(100, 2))
    variables = model.init(jax.random.key(0), {"x": np.zeros((2, 20), np.int32)})
    called = {}

    def run(module, out, *arguments):
        words = [word for given in arguments for word in ([given] if isinstance(given, str) else given)]
        called[out.name] = {name: value for name, value in zip(words[::2], words[1::2], strict=True)}
        assert module == "sequences.seq_gan"
        out.mkdir(parents=True)
        line = {"valid/nll_oracle": 9.0, "valid/entropy": 7.0, "valid/forward_kl": 2.0}
        (out / "metrics.jsonl").write_text("\n".join(json.dumps({**line, "step": i}) for i in (1, 2)))
        (out / "result.json").write_text(json.dumps({"training_seconds": 90}))

    monkeypatch.setattr(harness.commands, "run", run)
    monkeypatch.setattr(oracle.jaxgen, "load", lambda folder, which: TrainedModel(model, variables))
    config = OracleStudy(runs=tmp_path / "runs", rounds=7, moves_per_round=3, mle_steps=12, critic_steps=5, measured=64)
    text = oracle.study(config)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert all(len(line) == len(oracle.HEAD) for line in lines)
    names = [line[0] for line in lines[2:]]
    cooled = [f"MLE, temperature {t}" for t in oracle.TEMPERATURES]
    assert names == [*oracle.SAMPLES, "MLE", *cooled, "MLE continued", *ARMS]
    cells = dict(zip(names, lines[2:], strict=True))
    # of the small oracle, 100 words
    assert cells["uniform words"][2] == cells["uniform words"][3] == f"{np.log(100):.3f}"
    assert cells["table of bigrams"][3] == "inf" and float(cells["SeqGAN"][3]) > 4 and cells["SeqGAN"][-1] == "1.5"
    folder = config.runs
    assert "--start" not in called["MLE"] and called["MLE"]["--steps"] == "12"
    starts = {name: words["--start"] for name, words in called.items() if name != "MLE"}
    assert starts == {
        **dict.fromkeys(("critic", "critic_of_shuffled_labels", "MLE_continued"), str(folder / "MLE")),
        **{harness.slug(name): str(folder / harness.slug(start)) for name, (start, *_) in ARMS.items()},
    }  # fmt: skip
    steps = {name: (words["--mle-steps"], words["--critic-steps"], words["--steps"]) for name, words in called.items()}
    assert steps["MLE_continued"] == ("7", "0", "7") and steps["critic"] == ("0", "5", "5")
    assert steps["SeqGAN"] == steps["lagging"] == steps["MaliGAN"] == steps["shuffled_labels"] == ("0", "0", "21")
    assert steps["constant_reward"] == ("0", "0", "7")
    assert called["shuffled_labels"]["--labels"] == called["critic_of_shuffled_labels"]["--labels"] == "shuffled"
    assert "--labels" not in called["SeqGAN"] and (folder / "divergences.png").stat().st_size > 0
    count = len(called)
    assert oracle.study(config) == text and len(called) == count
    with pytest.raises(ValueError, match="GAN"):
        oracle.study(OracleStudy(runs=tmp_path / "others", only=("GAN",)))


@pytest.mark.slow
def test_splits_are_samples_of_the_oracle():
    config = SeqGANConfig()
    splits = config.open()
    x = {name: part.head(len(part))["x"] for name, part in splits._asdict().items()}
    likelihoods = [float(config.oracle().log_probs(rows[:1000]).mean()) for rows in x.values()]
    np.testing.assert_allclose(likelihoods, np.mean(likelihoods), rtol=0.02)
    rows = np.concatenate(list(x.values()))
    assert len(np.unique(rows, axis=0)) == len(rows) and rows.shape[1] == 20


def test_without_shuffling_the_batches_of_all_epochs_are_the_same():
    config = SeqGANConfig(shuffled=False)
    train = config.open().train
    x = train.head(len(train))["x"]
    for step, first in ((0, 0), (1, 1000), (2, 0), (5, 1000)):
        np.testing.assert_array_equal(train.batch_at(step, 1000, seed=3)["x"], x[first : first + 1000])


def test_new_training_sequences_are_others_than_the_files_and_those_of_the_other_splits():
    splits, own = SeqGANConfig(fresh=1_024).open(), SeqGANConfig().open()
    fresh, *others = (split.head(1_024)["x"] for split in (splits.train, own.train, own.valid, own.test))
    assert fresh.shape == (1_024, 20)
    assert all((fresh[:, None] != other[None, :50]).any(2).all() for other in others)


def test_samples_for_the_metrics_are_independent_of_the_training_split(monkeypatch):
    """With a model that is the oracle, equal keys would give equal sequences."""
    splits, oracle = SeqGANConfig().open(), SeqGANConfig().oracle()
    monkeypatch.setattr(seq_gan, "oracle_metrics", lambda samples, *log_probs: {"samples": samples})
    trained = SimpleNamespace(
        sample=jax.jit(oracle.sample, static_argnums=1), log_probs=lambda x, temperature: np.zeros(x.shape)
    )
    samples = seq_gan.divergences(trained, oracle, splits.test.arrays["x"][:8], 64)["samples"]
    equal = [(samples[:, :3] == split.arrays["x"][:64, :3]).all(1).mean() for split in splits]
    assert samples.shape == (64, 20) and max(equal) < 0.05
