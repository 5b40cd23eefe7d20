"""The table harness of the studies: rows that are computed once, chosen, or refused."""

import json

import pytest

from experiments.config import Experiment
from experiments.run import run
from experiments.studies import harness
from experiments.vaes import vae
from experiments.vaes.vae import VAEConfig


def study(folder, only=(), settings=None, fail=()):
    calls = []

    def row(name):
        def compute():
            calls.append(name)
            assert name not in fail
            return {"value": len(name)}

        return compute

    names = ("a", "b, c/d")
    return harness.rows({name: row(name) for name in names}, only, folder, settings or {"steps": (1, 2)}), calls


def test_rows_are_computed_once_and_finished_ones_shown_in_any_case(tmp_path):
    assert study(tmp_path / "runs", only=("b, c/d",)) == ({"b, c/d": {"value": 6}}, ["b, c/d"])
    # in the study's order, and settings are compared as JSON has them
    both, calls = study(tmp_path / "runs", only=("a",))
    assert list(both) == ["a", "b, c/d"] and calls == ["a"]
    assert study(tmp_path / "runs") == (both, [])
    assert {file.name for file in (tmp_path / "runs").iterdir()} == {"a.json", "b_c-d.json"}


def test_a_row_that_fails_leaves_nothing_and_is_tried_again(tmp_path):
    with pytest.raises(AssertionError):
        study(tmp_path, fail=("a",))
    assert study(tmp_path)[1] == ["a", "b, c/d"]


def test_other_settings_and_unknown_names_are_refused(tmp_path):
    study(tmp_path, only=("a",))
    with pytest.raises(
        ValueError, match=r"a.json has settings {'steps': \[1, 2\]}, got {'steps': 3}: name other `runs`"
    ):
        study(tmp_path, settings={"steps": 3})
    with pytest.raises(ValueError, match=r"`only` must name rows of \['a', 'b, c/d'\], got \['x'\]"):
        study(tmp_path, only=("a", "x"))


def test_a_table_is_markdown_with_notes_and_records_beside_it(tmp_path):
    text = harness.table(("system", "value"), [("a", 1), ("b", "2.0")], "Notes.")
    assert text == "| system | value |\n| --- | --- |\n| a | 1 |\n| b | 2.0 |\n\nNotes."
    assert harness.save(tmp_path, text, [{"system": "a"}, {"system": "b"}]) == text
    assert (tmp_path / "table.md").read_text() == text + "\n"
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["system"] for line in lines] == ["a", "b"]


@pytest.mark.slow
def test_host_metrics_are_in_the_lines_of_each_evaluation(tmp_path):
    config = VAEConfig(
        steps=4, batch_size=8, eval_every=2, log_every=2, checkpoint_every=4, width=4, latents=2, importance_samples=2,
        out=tmp_path / "run",
    )  # fmt: skip
    seen = []

    def host_metrics(trained):
        seen.append(trained)
        return {"evaluations": len(seen)}

    def build(config, data):
        experiment = vae.build(config, data)
        return Experiment(
            experiment.model, optimizers=experiment.optimizers, host_metrics=host_metrics, draws=1,
            final_metrics=lambda trained: {"final": 5.0},
        )  # fmt: skip

    result = run("experiments.vaes.vae", config, build, quiet=True)
    assert result["test"]["final"] == 5.0 and result["changed"]["width"] == 4 and result["headline"] == ("elbo",)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    found = [(line["step"], line["valid/evaluations"]) for line in lines if "valid/evaluations" in line]
    assert found == [(2, 1.0), (4, 2.0)]
