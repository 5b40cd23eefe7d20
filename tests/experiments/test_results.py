"""The page of results: the contents of runs, records of deleted runs, and the identity of runs."""

import json
from pathlib import Path

from experiments import results
from experiments.results import Results, read_records, update, with_rows_of

PAPER = {"metric": "nats", "value": 1.5, "source": "the paper", "budget": 4000}


def result(experiment, value, published=None, **changed):
    return {
        "experiment": f"experiments.{experiment}", "data": "/there/digits",
        "test": {"bits_per_dim": value, "other": 7.0},
        "headline": ["bits_per_dim"], "published": published, "changed": changed, "training_seconds": 9.6,
        "baselines": {"uniform, bits_per_dim": 4.0, "uniform, nats": 9.0}, "config": {"steps": 1000, "seeds": 1},
        "devices": "1 x cpu", "commit": "abc", "command": f"python -m experiments.{experiment} --out /there/run",
    }  # fmt: skip


def put(folder, result):
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))


def config(tmp_path, runs):
    return Results(tmp_path / runs, tmp_path / "results", tmp_path / "RESULTS.md")


def lines(tmp_path, title="Flows"):
    """The cells of a wing's table."""
    section = (tmp_path / "RESULTS.md").read_text().partition(f"## {title}\n\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()[2:]]


def test_runs_that_are_gone_stay_and_others_are_brought_up_to_date(tmp_path):
    put(tmp_path / "first" / "a", result("flows.b", 2.0, PAPER))
    put(tmp_path / "first" / "c", result("flows.a", 3.0))
    assert update(config(tmp_path, "first")) == 2
    before = (tmp_path / "RESULTS.md").read_text()
    assert update(config(tmp_path, "none")) == 0 and (tmp_path / "RESULTS.md").read_text() == before
    put(tmp_path / "second" / "a", result("flows.a", 2.5))
    assert update(config(tmp_path, "second")) == 1
    assert lines(tmp_path) == [
        ["a", "digits", "bits_per_dim", "2.5", "1", "", "1,000"],
        ["baseline: uniform", "digits", "bits_per_dim", "4", "", "", ""],
        # a published metric that was not measured
        ["b", "digits", "nats", "–", "1", "1.5 (the paper)", "1,000 / 4,000"],
        ["baseline: uniform", "digits", "nats", "9", "", "", ""],
        ["b", "digits", "bits_per_dim", "2", "1", "", "1,000"],
        ["baseline: uniform", "digits", "bits_per_dim", "4", "", "", ""],
    ]
    page = (tmp_path / "RESULTS.md").read_text()
    # what is not a headline stands below, and commands without the machine's paths
    assert page.count("| a | digits | other | 7 |") == 1 and "--out run`" in page and "/there" not in page


def test_runs_of_an_older_version_are_skipped_with_a_note(tmp_path, capsys):
    put(tmp_path / "runs" / "new", result("flows.a", 2.0))
    for name in ("headline", "config", "seeds"):
        old = result("flows.b", 3.0)
        del (old["config"] if name == "seeds" else old)[name]
        put(tmp_path / "runs" / f"without {name}", old)
    assert update(config(tmp_path, "runs")) == 1
    notes = sorted(capsys.readouterr().err.splitlines())
    assert [note.partition("runs/")[2] for note in notes] == [
        "without config/result.json: skipped, an older version wrote it without ['config', 'seeds', 'steps']",
        "without headline/result.json: skipped, an older version wrote it without ['headline']",
        "without seeds/result.json: skipped, an older version wrote it without ['seeds']",
    ]
    assert [record["experiment"] for record in read_records(tmp_path / "results").values()] == ["flows.a"]


def test_two_configurations_of_one_experiment_are_told_apart(tmp_path):
    put(tmp_path / "runs" / "a", result("gans.a", 2.0, width=4))
    put(tmp_path / "runs" / "b", result("gans.a", 3.0, width=8, steps=1000))
    put(tmp_path / "runs" / "c", result("gans.a", 4.0))
    assert update(config(tmp_path, "runs")) == 3
    found = [(line[0], line[3]) for line in lines(tmp_path, "GANs") if "baseline" not in line[0]]
    # steps stand in the column of the budget
    assert sorted(found) == [("a", "4"), ("a (width=4)", "2"), ("a (width=8)", "3")]
    # the same configuration is the same record
    put(tmp_path / "later" / "a", result("gans.a", 2.5, width=4))
    update(config(tmp_path, "later"))
    assert ("a (width=4)", "2.5") in [(line[0], line[3]) for line in lines(tmp_path, "GANs")]
    assert len(read_records(tmp_path / "results")) == 3


def test_a_machines_folders_are_not_recorded():
    config = {"steps": 3, "seeds": 1}
    record = results.record_of({
        "experiment": "experiments.translation.unit", "data": "/data/mnist.npz,/data/usps.npz", "published": None,
        "config": config, "test": {}, "changed": {"trunk": "/data/vgg.npz", "width": 4},
        "command": "python -m experiments.translation.unit --data /data/mnist.npz,/data/usps.npz --out /runs/a/",
    })  # fmt: skip
    assert record["data"] == "mnist.npz,usps.npz" and record["changed"] == {"trunk": "vgg.npz", "width": 4}
    assert record["command"] == "python -m experiments.translation.unit --data mnist.npz,usps.npz --out a"


def test_several_seeds_are_one_row_with_their_error(tmp_path):
    summary = result("gans.a", 2.0, seeds=3)
    summary["config"]["seeds"], summary["standard_errors"] = 3, {"bits_per_dim": 0.0123}
    put(tmp_path / "runs" / "a", summary)
    for seed in range(3):
        put(tmp_path / "runs" / "a" / f"seed-{seed}", result("gans.a", 1.0 + seed, seed=seed))
    assert update(config(tmp_path, "runs")) == 1
    assert lines(tmp_path, "GANs")[0][:5] == ["a", "digits", "bits_per_dim", "2.000 ± 0.012", "3"]
    assert len(read_records(tmp_path / "results")) == 1


def test_a_study_is_its_table_and_records_not_its_runs(tmp_path):
    folder = tmp_path / "runs" / "studies.flows" / "digits"
    put(folder / "NICE-0", result("flows.nice", 2.0))
    (folder / "table.md").write_text("| flow |\n|---|\n| NICE |\n")
    record = {
        "experiment": "studies.flows", "system": "NICE", "data": "digits", "seeds": 3, "test": {"bits_per_dim": 3.0},
        "headline": ["bits_per_dim"], "steps": 600, "training_seconds": 1.0, "changed": {"extractor": "/there/judge"},
        "command": "python -m experiments.flows.nice --data /there/digits",
    }  # fmt: skip
    (folder / "records.jsonl").write_text(json.dumps(record) + "\n")
    put(tmp_path / "runs" / "b", result("flows.b", 2.0))
    (tmp_path / "runs" / "benchmarks.flows").mkdir()
    (tmp_path / "runs" / "benchmarks.flows" / "table.md").write_text("| row | ms |\n|---|---|\n| a | 1 |\n")
    assert update(config(tmp_path, "runs")) == 3
    page = (tmp_path / "RESULTS.md").read_text()
    assert ["NICE (extractor=judge)", "digits", "bits_per_dim", "3", "3", "", "600"] in lines(tmp_path)
    assert "- `python -m experiments.flows.nice --data digits`" in page and "/there" not in page
    assert "<summary>Table of studies.flows.digits</summary>\n\n| flow |\n|---|\n| NICE |\n" in page
    assert "## Benchmarks\n\n### benchmarks.flows\n\n| row | ms |" in page
    assert update(config(tmp_path, "none")) == 0 and (tmp_path / "RESULTS.md").read_text() == page


def test_a_table_keeps_the_rows_that_are_no_longer_at_hand(tmp_path):
    table = tmp_path / "runs" / "studies.flows" / "table.md"
    table.parent.mkdir(parents=True)
    kept = tmp_path / "results" / "tables" / "studies.flows.md"
    head = "| flow | metric | measured |\n|---|---|---|\n"
    table.write_text(head + "| NICE | nats | 1 |\n| MAF | nats | 2 |\n\n- old\n")
    update(config(tmp_path, "runs"))
    table.write_text(head + "| MAF | nats | 3 |\n\n- new\n")
    update(config(tmp_path, "runs"))
    assert kept.read_text() == head + "| MAF | nats | 3 |\n| NICE | nats | 1 |\n\n- new\n"
    table.write_text("| flow | value |\n|---|---|\n| MAF | 4 |\n")
    update(config(tmp_path, "runs"))
    assert "NICE" not in kept.read_text()


def test_a_row_measured_anew_replaces_its_old_one_in_each_table():
    codes = "| system | bits |\n|---|---|\n"
    arms = "| arm | rate | bits |\n|---|---|---|\n"
    old = f"{codes}| VAE | 7 |\n| GAN | 8 |\n\n{arms}| a | 1 | 2 |\n| a | 2 | 3 |\n\n400 steps."
    new = f"{codes}| VAE | 6 ± 1 |\n\n{arms}| a | 2 | 4 |\n\n800 steps."
    assert with_rows_of(old, new) == (
        f"{codes}| VAE | 6 ± 1 |\n| GAN | 8 |\n\n{arms}| a | 2 | 4 |\n| a | 1 | 2 |\n\n800 steps.\n"
    )
    assert with_rows_of("", new) == new + "\n" == with_rows_of(new, new)


def test_the_page_at_hand_is_the_one_of_the_records():
    """RESULTS.md is never edited by hand."""
    root = Path(__file__).parents[2]
    records = [record for _, record in sorted(read_records(root / "results").items())]
    page = results.page(records, results.read_tables(root / "results" / "tables"))
    assert page == (root / "RESULTS.md").read_text(encoding="utf-8")
