"""The study of GANs, from runs that are finished."""

import json

import pytest

from experiments.studies import gans, harness
from experiments.studies.gans import METRICS, ROWS, GANStudy

ROW = {row.name: row for row in ROWS}


def result(row, value):
    published = (
        {"metric": row.own, "value": 0.5, "source": "a paper", "budget": None} if row.name == "InfoGAN" else None
    )
    test = {**{name: value + i for i, name in enumerate(METRICS)}, **({row.own: value} if row.own else {})}
    return {
        "test": test, "config": {"steps": 3000}, "training_seconds": 61.6, "published": published, "data": "digits",
        "changed": {}, "command": None,
    }  # fmt: skip


@pytest.fixture
def commands(monkeypatch):
    """The commands that a study runs; their results are given."""
    called, results = [], {"gans.dcgan": result(ROW["DCGAN"], 0.25), "gans.infogan": result(ROW["InfoGAN"], 1.25)}

    def run(module, out, *arguments):
        called.append((module, [word for given in arguments for word in given]))
        out.mkdir(parents=True)
        (out / "result.json").write_text(json.dumps(results[module]))

    monkeypatch.setattr(harness.commands, "run", run)
    monkeypatch.setattr(gans, "ceiling", lambda config: dict.fromkeys(METRICS, 0.125))
    return called


def test_a_game_is_run_once_with_its_fraction_of_steps(tmp_path, commands):
    config = GANStudy(extractor=tmp_path / "judge", runs=tmp_path, only=("DCGAN", "InfoGAN"), share=0.01, width=8)
    text = gans.study(config)
    assert (tmp_path / "table.md").read_text() == text + "\n"
    head, rule, dcgan, infogan, best = text.splitlines()
    assert head.count("|") == rule.count("|") == dcgan.count("|") == infogan.count("|") == best.count("|")
    cells = [cell.strip() for cell in infogan.split("|")[1:-1]]
    assert cells[:5] == ["InfoGAN", "3,000", "62", "1.2", "2.25"] and cells[-2:] == [
        "category error 1.250",
        "0.5 (a paper)",
    ]
    assert dcgan.startswith("| DCGAN | 3,000 | 62 | 0.2 | 1.25 |")
    assert best.startswith("| training examples |  |  | 0.1 | 0.12 |")
    (module, words), (other, _) = commands
    assert (module, other) == ("gans.dcgan", "gans.infogan") and words[words.index("--steps") + 1] == "100"
    assert words[words.index("--width") + 1] == "8" and words[words.index("--extractor") + 1] == str(tmp_path / "judge")
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert [record["system"] for record in records] == ["DCGAN", "InfoGAN"]
    assert records[1]["published"][0]["value"] == 0.5 and "category error" in records[1]["headline"]
    assert gans.study(config) == text and len(commands) == 2


def test_unknown_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="StyleGAN"):
        gans.study(GANStudy(extractor=tmp_path, runs=tmp_path, only=("StyleGAN",)))
