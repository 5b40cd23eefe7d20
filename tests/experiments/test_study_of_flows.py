"""The study of flows, from runs that are finished."""

import importlib
import inspect
import json

import pytest
import tyro

from experiments.studies import flows, harness


def finished(module, out, *arguments):
    """What a run of three seeds leaves, two steps a second while it trains."""
    words = [word for given in arguments for word in given]
    steps, seeds = (int(words[words.index(name) + 1]) for name in ("--steps", "--seeds"))
    value = {"flows.nice": 3.1, "flows.glow": 2.25}[module]
    result = {
        "data": "digits", "test": {"bits_per_dim": value}, "standard_errors": {"bits_per_dim": 0.1}, "command": None,
        "baselines": {"uniform, bits_per_dim": 4.0875}, "parameters": {"flow": 900, "dequantizer": 100},
        "config": {"steps": steps, "seeds": seeds}, "training_seconds": 60.0 * seeds,
    }  # fmt: skip
    folder = out / "seed-0"
    folder.mkdir(parents=True)
    (out / "result.json").write_text(json.dumps(result))
    half = steps // 2
    lines = [
        {"step": half, "steps_per_second": 10.0}, {"step": half, "valid/bits_per_dim": value + 1},
        {"step": steps, "steps_per_second": 5.0}, {"step": steps, "valid/bits_per_dim": value + 0.5},
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(harness.commands, "run", finished)
    return flows.FlowStudy(runs=tmp_path, seeds=3, steps=600, only=("NICE", "Glow, conv1x1"))


def test_rows_are_means_with_errors_beside_the_baselines_and_are_read_again(config, monkeypatch):
    lines = flows.study(config).splitlines()
    assert lines[2] == "| uniform | bits_per_dim | 4.088 |  |  |  |  |"
    # the seconds of one seed
    assert lines[3] == "| NICE | bits_per_dim | 3.100 ± 0.100 |  | 1,000 | 600 | 60 s |"
    assert lines[4].startswith("| Glow, conv1x1 | bits_per_dim | 2.250 ± 0.100 |") and len(lines) == 5
    folder = config.runs / "digits"
    assert (folder / "table.md").read_text().splitlines() == lines
    assert (folder / "curves.png").stat().st_size > 1000
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert [(r["system"], r["test"]["bits_per_dim"], r["seeds"]) for r in records] == [
        ("NICE", 3.1, 3), ("Glow, conv1x1", 2.25, 3)
    ]  # fmt: skip
    monkeypatch.setattr(harness.commands, "run", None)
    assert flows.study(config).splitlines() == lines


def test_time_is_that_of_training(config):
    flows.study(config)
    row = flows.SECTIONS["digits"][0]
    result = json.loads((config.runs / "digits" / "NICE.json").read_text())["result"]
    (line,) = flows.curves({row: result}, config.runs / "digits").axes[0].lines
    assert line.get_xydata().tolist() == [[0.5, 4.1], [1.5, 3.6]]


def test_a_budget_is_minutes_of_each_seed(config, tmp_path):
    row = flows.SECTIONS["digits"][0]
    # five steps a second of all three seeds at the end of the calibration
    assert flows.affordable_steps(row, "digits", 3, tmp_path, 2.0) == 2 * 60 * 5 * 3


def test_names_the_file_that_is_missing():
    with pytest.raises(ValueError, match="`bsds300` must be the path"):
        flows.study(flows.FlowStudy(section="bsds300"))


def test_rows_are_experiments_and_their_arguments():
    for rows in flows.SECTIONS.values():
        for row in rows:
            build = importlib.import_module(f"experiments.flows.{row.module}").build
            config = tyro.cli(inspect.get_annotations(build, eval_str=True)["config"], args=list(row.arguments))
            config.check()
