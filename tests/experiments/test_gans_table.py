import json

import pytest

from experiments.gans import table
from experiments.gans.table import FIGURES, ROWS, Table


def result(row, value):
    published = {"figure": row.own, "value": 0.5, "source": "a paper"} if row.name == "InfoGAN" else None
    test = {**{name: value + i for i, name in enumerate(FIGURES)}, **({row.own: value} if row.own else {})}
    return {"test": test, "config": {"steps": 3000}, "training_seconds": 61.6, "published": published}


def test_finished_runs_are_read_and_not_run_again(tmp_path, monkeypatch):
    games = [row for row in ROWS if row.name in ("DCGAN", "InfoGAN")]
    for i, row in enumerate(games):
        folder = tmp_path / f"{row.name}-0"
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps(result(row, 0.25 + i)))
    monkeypatch.setattr(table.commands, "run", None)
    monkeypatch.setattr(table, "ceiling", lambda config: dict.fromkeys(FIGURES, 0.125))
    text = table.main(Table(extractor=tmp_path, runs=tmp_path, only=("DCGAN",)))
    assert (tmp_path / "table.md").read_text() == text + "\n"
    head, rule, dcgan, infogan, best = text.splitlines()
    assert head.count("|") == rule.count("|") == dcgan.count("|") == infogan.count("|") == best.count("|")
    cells = [cell.strip() for cell in infogan.split("|")[1:-1]]
    assert cells[:5] == ["InfoGAN", "3,000", "62", "1.2", "2.25"] and cells[-2:] == ["category error 1.250", "0.5 (a paper)"]
    assert dcgan.startswith("| DCGAN | 3,000 | 62 | 0.2 | 1.25 |") and best.startswith("| training rows | | | 0.1 | 0.12 |")


def test_a_missing_run_is_run_for_its_share_of_steps(tmp_path, monkeypatch):
    called = []

    def run(module, out, *arguments):
        called.append((module, [word for given in arguments for word in given]))
        out.mkdir(parents=True)
        (out / "result.json").write_text(json.dumps(result(ROWS[0], 1.0)))

    monkeypatch.setattr(table.commands, "run", run)
    monkeypatch.setattr(table, "ceiling", lambda config: dict.fromkeys(FIGURES, 0.0))
    table.main(Table(extractor=tmp_path / "judge", runs=tmp_path, only=("DCGAN",), share=0.01, width=8))
    ((module, words),) = called
    assert module == "gans.dcgan" and words[words.index("--steps") + 1] == "100"
    assert words[words.index("--width") + 1] == "8" and words[words.index("--extractor") + 1] == str(tmp_path / "judge")


def test_unknown_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="StyleGAN"):
        table.main(Table(extractor=tmp_path, runs=tmp_path, only=("StyleGAN",)))
