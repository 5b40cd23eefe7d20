"""RESULTS.md: what runs say, and what it keeps of runs that are no longer at hand."""

import json

from experiments.results import Results, write


def result(experiment, value, seed=0, published=None):
    return {
        "experiment": f"experiments.{experiment}", "data": "digits", "test": {"bits_per_dim": value}, "published": published,
        "baselines": {"uniform, bits_per_dim": 4.0}, "config": {"steps": 1000, "seed": seed}, "training_seconds": 9.6,
        "devices": "1 x cpu", "commit": "abc", "command": f"python -m experiments.{experiment} --seed {seed}",
    }


def put(folder, result):
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))


def test_runs_that_are_gone_stay_and_others_are_brought_up_to_date(tmp_path):
    out, paper = tmp_path / "RESULTS.md", {"figure": "nats", "value": 1.5, "source": "the paper"}
    put(tmp_path / "first" / "a", result("flows.b", 2.0, published=paper))
    put(tmp_path / "first" / "c", result("flows.a", 3.0))
    assert write(Results(tmp_path / "first", out)) == 2
    before = out.read_text()
    assert write(Results(tmp_path / "none", out)) == 0 and out.read_text() == before

    put(tmp_path / "second" / "a", result("flows.a", 2.5))
    put(tmp_path / "second" / "b", result("flows.a", 2.7, seed=1))
    assert write(Results(tmp_path / "second", out)) == 2
    rows = [line for line in out.read_text().splitlines() if line.startswith("| ") and "experiment |" not in line]
    assert [row.split(" | ")[0].strip("| ") + " " + row.split(" | ")[3] for row in rows] == [
        "flows.a 2.5", "baseline 4", "flows.a 2.7", "baseline 4", "flows.b 2", "baseline 4", "published ",
    ]
    commands = [line for line in out.read_text().splitlines() if line.startswith("- ")]
    assert commands == [f"- `python -m experiments.flows.{name}`" for name in ("a --seed 0", "a --seed 1", "b --seed 0")]


def test_several_seeds_are_one_row(tmp_path):
    summary = result("gans.a", 2.0)
    summary["config"]["seeds"], summary["standard_errors"] = 3, {"bits_per_dim": 0.0123}
    put(tmp_path / "runs" / "a", summary)
    for seed in range(3):
        put(tmp_path / "runs" / "a" / f"seed-{seed}", result("gans.a", 1.0 + seed, seed))
    assert write(Results(tmp_path / "runs", tmp_path / "RESULTS.md")) == 1
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| 2 ± 0.012 |" in text and "| 0 to 2 |" in text and "| 3 |" not in text


def test_a_folder_with_a_table_is_that_table(tmp_path):
    out = tmp_path / "RESULTS.md"
    put(tmp_path / "runs" / "flows.table" / "digits" / "NICE-0", result("flows.nice", 2.0))
    (tmp_path / "runs" / "flows.table" / "digits" / "table.md").write_text("| flow |\n|---|\n| NICE |\n")
    put(tmp_path / "runs" / "b", result("flows.b", 2.0))
    assert write(Results(tmp_path / "runs", out)) == 2
    text = out.read_text()
    assert "flows.nice" not in text and "## flows.table/digits\n\n| flow |\n|---|\n| NICE |\n" in text
    assert write(Results(tmp_path / "none", out)) == 0 and out.read_text() == text


def test_a_table_keeps_the_rows_that_are_no_longer_at_hand(tmp_path):
    out, table = tmp_path / "RESULTS.md", tmp_path / "runs" / "flows.table" / "table.md"
    table.parent.mkdir(parents=True)
    head = "| flow | figure | measured |\n|---|---|---|\n"
    table.write_text(head + "| NICE | nats | 1 |\n| MAF | nats | 2 |\n\n- old\n")
    write(Results(tmp_path / "runs", out))
    table.write_text(head + "| MAF | nats | 3 |\n\n- new\n")
    write(Results(tmp_path / "runs", out))
    section = out.read_text().partition("## flows.table\n\n")[2]
    assert section == head + "| MAF | nats | 3 |\n| NICE | nats | 1 |\n\n- new\n"
    table.write_text("| flow | value |\n|---|---|\n| MAF | 4 |\n")
    write(Results(tmp_path / "runs", out))
    assert "NICE" not in out.read_text()
