"""The table of flows, from runs that are there already."""

import json

import pytest

from experiments.flows import table


def write(folder, value, baselines):
    folder.mkdir(parents=True)
    result = {
        "test": {"bits_per_dim": value}, "baselines": baselines, "parameters": {"flow": 900, "dequantizer": 100},
        "config": {"steps": 600}, "training_seconds": 60.0,
    }
    (folder / "result.json").write_text(json.dumps(result))
    lines = [
        {"step": 300, "steps_per_second": 10.0}, {"step": 300, "valid/bits_per_dim": value + 1},
        {"step": 600, "steps_per_second": 5.0}, {"step": 600, "valid/bits_per_dim": value + 0.5},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def read(tmp_path, monkeypatch):
    """The table of two rows with two seeds each, nothing of which is to be run."""
    for name, values in {"NICE": (3.0, 3.2), "Glow_conv1x1": (2.0, 2.5)}.items():
        for seed, value in enumerate(values):
            write(tmp_path / "digits" / f"{name}-{seed}", value, {"uniform, bits_per_dim": 4.0875})
    monkeypatch.setattr(table, "_run", None)
    return table.Table(runs=tmp_path, seeds=2, only=("NICE", "Glow, conv1x1"))


def test_reads_what_is_there(read):
    lines = table.main(read).splitlines()
    assert lines[2] == "| uniform | bits_per_dim | 4.088 | | | | |"
    # standard error of the mean of two: half their distance
    assert lines[3] == "| NICE | bits_per_dim | 3.100 ± 0.100 |  | 1,000 | 600 | 60 s |"
    assert lines[4].startswith("| Glow, conv1x1 | bits_per_dim | 2.250 ± 0.250 |") and len(lines) == 5
    assert (read.runs / "digits" / "table.md").read_text().splitlines() == lines
    assert (read.runs / "digits" / "curves.png").stat().st_size > 1000


def test_time_is_that_of_training(read):
    row = table.SECTIONS["digits"][0]
    figure = table._curves({row: None}, read.runs / "digits")
    (line,) = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[0.5, 4.0], [1.5, 3.5]]


def test_names_the_file_that_is_missing():
    with pytest.raises(ValueError, match="needs --bsds300"):
        table.main(table.Table(section="bsds300"))


def test_rows_are_experiments_and_their_arguments():
    import importlib
    import inspect

    import tyro

    for rows in table.SECTIONS.values():
        for row in rows:
            build = importlib.import_module(f"experiments.flows.{row.module}").build
            tyro.cli(inspect.get_annotations(build, eval_str=True)["config"], args=list(row.arguments))
