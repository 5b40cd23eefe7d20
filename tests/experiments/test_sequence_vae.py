"""Experiments with sequences on data of each kind, and the table of remedies from runs that are there already."""

import dataclasses
import json

import numpy as np
import pytest
import tyro

from experiments import report
from experiments.run import run
from experiments.studies import collapse, harness
from experiments.vaes import sequence_vae
from experiments.vaes.sequence_vae import SequenceVAEConfig
from jaxgen.data import source
from jaxgen.data.series import log_prob_of_chains
from jaxgen.distributions import Bernoulli, Categorical, Gaussian
from jaxgen.models.vaes import Codebook, lagging_inference


@pytest.mark.slow
def test_a_text_is_learned_and_read(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "TEST_DRAWS", 2)
    (tmp_path / "book.txt").write_text("the quick brown fox jumps\nover the lazy dog " * 60)
    config = SequenceVAEConfig(
        data=str(tmp_path / "book.txt"), out=tmp_path / "run", steps=2, eval_every=2, checkpoint_every=2, log_every=2,
        batch_size=8, width=4, latents=2, network="causal", groups=1, codes=4, importance_samples=2,
    )
    result = run("vaes.sequence_vae", config, sequence_vae.build, quiet=True)
    test = result["test"]
    assert test["kl"] == pytest.approx(np.log(4)) and set(result["parameters"]) == {"encoder", "decoder", "codebook"}
    assert test["bits_per_dim"] == pytest.approx(-test["elbo"] / 64 / np.log(2))
    assert (tmp_path / "run" / "texts.png").stat().st_size > 1000


def test_the_model_is_of_the_datas_kind():
    digits, chains, sines = source("digits"), source("chains"), source("sines")

    def model(data, **fields):
        return sequence_vae.build(SequenceVAEConfig(data="x", **fields), data).model

    kinds = {Bernoulli(): digits, Categorical(8): chains, Gaussian(): sines}
    for likelihood, data in kinds.items():
        assert model(data).likelihood == likelihood and model(data).axes == (2 if data is digits else 1)
    assert model(digits, likelihood="categorical").likelihood == Categorical(17)
    with pytest.raises(ValueError, match="likelihood='categorical' expects symbols, got real-valued data='x'"):
        model(sines, likelihood="categorical")
    coded = model(chains, groups=2, codes=5, word_dropout=0.3, network="causal", dilations=(1, 3))
    assert coded.posterior.codebook == coded.prior.codebook == Codebook(num_codes=5, code_dim=8)
    assert coded.latent_dim == 16 and coded.word_dropout == 0.3
    assert coded.decoder.dilations == (1, 3)


def test_remedies_are_arguments_of_the_experiment():
    data, models, plays = source("chains"), {}, {}
    for name in collapse.REMEDIES:
        config = tyro.cli(SequenceVAEConfig, args=["--data", "chains", *collapse.arguments(name, 400)])
        experiment = sequence_vae.build(config, data)
        models[name], plays[name] = experiment.model, experiment.plays
    objectives = {name: model.objective for name, model in models.items()}
    assert [float(objectives["warm-up"].kl_weight(step)) for step in (0, 100, 200, 399)] == [0, 0.5, 1, 1]
    assert [float(objectives["cyclical weight"].kl_weight(step)) for step in (25, 50, 99, 100)] == [0.5, 1, 1, 0]
    assert objectives["free bits, 0.25 nats a latent"].free_bits == 0.25
    assert models["word dropout, 0.75"].word_dropout == 0.75 and models["none"].word_dropout == 0
    assert models["discrete codes"].posterior.codebook.num_codes == 8
    game = lagging_inference(models["none"], 5)
    ours = plays["five moves of the encoder"]
    assert {n: (p.players, p.when) for n, p in ours.items()} == {n: (p.players, p.when) for n, p in game.items()}
    # one remedy at a time: beside it the same model
    for name in ("warm-up", "cyclical weight", "free bits, 0.25 nats a latent", "five moves of the encoder"):
        assert dataclasses.replace(models[name], objective=objectives["none"]) == models["none"]


def finished(module, out, *arguments):
    """What a run leaves."""
    out.mkdir(parents=True)
    value, divergence = {"none": (-98.604, 0.013), "free_bits_0.25_nats_a_latent": (-97.5, 3.0)}[out.name]
    result = {
        "test": {"elbo": value, "kl": divergence, "active units": 3.0, "mutual information in nats": 1.25},
        "config": {"steps": 1500, "latents": 16}, "training_seconds": 61.0,
    }  # fmt: skip
    (out / "result.json").write_text(json.dumps(result))
    lines = [
        {"step": 500, "valid/kl": 2 * divergence}, {"step": 1000, "loss": 1.0}, {"step": 1500, "valid/kl": divergence},
    ]  # fmt: skip
    (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_table_has_what_was_run_below_the_exact_density(tmp_path, monkeypatch):
    monkeypatch.setattr(harness.commands, "run", finished)
    config = collapse.Collapse(runs=tmp_path, seed=1, only=("none", "free bits, 0.25 nats a latent"))
    lines = collapse.study(config).splitlines()
    exact = log_prob_of_chains(source("chains").test.arrays["x"]).mean()
    assert lines[2] == f"| exact log-density | {exact:.2f} |  |  |  |  |  |"
    assert lines[3] == "| none | -98.60 | 0.01 | 3 of 16 | 1.25 | 1,500 | 61 s |"
    assert lines[4].startswith("| free bits, 0.25 nats a latent | -97.50 | 3.00 |") and len(lines) == 5
    assert len({line.count("|") for line in lines}) == 1
    folder = tmp_path / "chains"
    assert (folder / "table.md").read_text().splitlines() == lines
    assert (folder / "divergences.png").stat().st_size > 1000
    monkeypatch.setattr(harness.commands, "run", None)
    assert collapse.study(config).splitlines() == lines
    with pytest.raises(ValueError, match=r"`only` must name rows of \['none', 'warm-up'.*got \['prayer'\]"):
        collapse.study(collapse.Collapse(runs=tmp_path, only=("prayer",)))
