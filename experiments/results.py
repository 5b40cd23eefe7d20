"""Updates RESULTS.md from the runs in a folder: `python -m experiments.results [--runs runs]`.

Records of runs are kept in `results/<wing>.jsonl`, tables of studies and benchmarks in `results/tables/`, and
RESULTS.md is generated from them. A run has a `result.json`; a study's folder has a `table.md`, and a
`records.jsonl` for the wing's table. Records of deleted runs are kept, and so are other rows of a table.

A record is the part of `result.json` that the page needs: `experiment`, `data`, `test` metrics and `standard_errors`,
`headline` metrics, `baselines`, `published` results, `changed` fields of the config, `steps`, `seeds`,
`training_seconds`, `devices`, `commit` and `command`; for a study, the `system` too. Experiment, system, data and
changed fields identify it. A `result.json` without these, of an older version, is skipped with a note.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.commands import parse
from experiments.studies.harness import table, write

Record = dict[str, Any]

WINGS = {
    "flows": "Flows", "vaes": "VAEs", "gans": "GANs", "hybrids": "Hybrids", "translation": "Translation",
    "sequences": "Sequences",
}  # fmt: skip
STUDIES = {
    "mixtures": "gans",
    "claims": "gans",
    "metric_study": "gans",
    "collapse": "vaes",
    "style_gan": "hybrids",
    **dict.fromkeys(("disco_gan", "pose", "style_transfer"), "translation"),
    **dict.fromkeys(
        ("oracle", "replies", "text_gan", "boundary_seeking", "characters", "translation_gan", "time_series"),
        "sequences",
    ),
    **dict.fromkeys(("anomaly", "vqgan", "latent_codes", "singan", "compression"), "hybrids"),
}
"""The wings of studies that do not have a wing's name."""
INTRODUCTION = """# Results

Made by `python -m experiments.results` from the records in `results/`, which hold every metric of every run.
Metrics are on test splits; a model's own noise is averaged over 16 samples. Over several seeds they are means ±
standard errors. The budget is the number of training steps, divided by the paper's where that is known: most runs here
are far shorter. Papers have their own set-ups, so read the source before comparing.
"""
HEAD = ("system", "data", "metric", "measured", "seeds", "published", "budget / published budget")


@dataclass(frozen=True)
class Results:
    runs: Path = Path("runs")
    """Folder of runs, at any depth."""
    records: Path = Path("results")
    """Folder of the records and tables."""
    out: Path = Path("RESULTS.md")
    """The page."""


def update(config: Results) -> int:
    """Adds the runs in `config.runs` to the records and writes the page; returns the number of runs and tables."""
    records, tables = read_records(config.records), read_tables(config.records / "tables")
    count, folders = 0, _files(config.runs)
    for folder, names in folders.items():
        if "table.md" in names:
            count += 1
            name = folder.relative_to(config.runs).as_posix().replace("/", ".")
            new = (folder / "table.md").read_text(encoding="utf-8")
            tables[name] = with_rows_of(tables.get(name, ""), new)
            if "records.jsonl" in names:
                lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
                records |= {key(record): record for record in map(portable, map(json.loads, lines))}
        # runs within a study and single seeds of a run are not listed
        covered = any("table.md" in folders.get(above, ()) for above in (folder, *folder.parents))
        covered = covered or "result.json" in folders.get(folder.parent, ())
        if "result.json" in names and not covered:
            file = folder / "result.json"
            result = json.loads(file.read_text(encoding="utf-8"))
            if missing := _missing(result):
                print(f"{file}: skipped, an older version wrote it without {missing}", file=sys.stderr)
                continue
            count += 1
            record = record_of(result)
            records[key(record)] = record
    config.records.mkdir(parents=True, exist_ok=True)
    for wing in WINGS:
        lines = [json.dumps(record) + "\n" for _, record in sorted(records.items()) if wing_of(record) == wing]
        write(config.records / f"{wing}.jsonl", "".join(lines))
    (config.records / "tables").mkdir(exist_ok=True)
    for name, text in tables.items():
        write(config.records / "tables" / f"{name}.md", text.strip() + "\n")
    write(config.out, page([record for _, record in sorted(records.items())], dict(sorted(tables.items()))))
    return count


def _files(root: Path) -> dict[Path, list[str]]:
    """File names by folder. Unlike Path.rglob, os.walk ignores folders that a run removes meanwhile."""
    return {Path(folder): names for folder, _, names in os.walk(root)}


_REQUIRED = {"experiment", "data", "test", "headline", "published", "training_seconds", "command", "config"}


def _missing(result: Mapping[str, Any]) -> list[str]:
    """The fields that a `result.json` lacks for a record."""
    return sorted((_REQUIRED - result.keys()) | ({"steps", "seeds"} - result.get("config", {}).keys()))


def record_of(result: Mapping[str, Any]) -> Record:
    """The record of a `result.json`."""
    config, paper = result["config"], result["published"]
    names = ("headline", "baselines", "test", "standard_errors", "training_seconds", "devices", "commit")
    return portable({
        "experiment": result["experiment"].removeprefix("experiments."),
        "data": result["data"],
        **{name: result[name] for name in names if name in result},
        "changed": result.get("changed", {}),
        "published": [paper] if paper else [],
        "steps": config["steps"],
        "seeds": config["seeds"],
        "command": result["command"],
    })  # fmt: skip


def portable(record: Record) -> Record:
    """The record without the folders of the machine that made it."""
    changed = {k: without_folders(v) if isinstance(v, str) else v for k, v in record.get("changed", {}).items()}
    command = record.get("command") and " ".join(map(without_folders, record["command"].split()))
    named = {"data": without_folders(record["data"]), "changed": changed, "command": command}
    return {**record, **named, "published": record.get("published", [])}


def without_folders(path: str) -> str:
    """The last parts of a path, or of several with commas between them."""
    return ",".join(os.path.basename(part.rstrip(os.sep)) for part in path.split(","))


def key(record: Record) -> tuple[str, ...]:
    """Identifies a configuration: experiment, system, data, and the fields that differ from their defaults."""
    changed = json.dumps(record.get("changed", {}), sort_keys=True, default=str)
    return record["experiment"], record.get("system", ""), record["data"], changed


def wing_of(record: Record) -> str:
    folder_name, _, name = record["experiment"].partition(".")
    return folder_name if folder_name != "studies" else STUDIES.get(name, name)


def read_records(folder: Path) -> dict[tuple[str, ...], Record]:
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_text(encoding="utf-8").splitlines()]
    return {key(record): record for record in map(json.loads, lines)}


def read_tables(folder: Path) -> dict[str, str]:
    files = sorted(folder.glob("*.md"), key=lambda file: file.stem)
    return {file.stem: file.read_text(encoding="utf-8") for file in files}


def with_rows_of(old: str, new: str) -> str:
    """The new tables, each with the rows that it lacks of the old table with the same head.

    The first cells name a row: as many as tell the rows of both tables apart, so that a row measured anew replaces its
    old one.
    """
    before = {lines[0]: lines for lines in _blocks(old) if lines[0].startswith("|")}
    blocks = []
    for lines in _blocks(new):
        old_lines = before.get(lines[0], [])
        cells = max(_telling_apart(lines), _telling_apart(old_lines))
        names = {_name(line, cells) for line in lines}
        blocks.append("\n".join([*lines, *(line for line in old_lines if _name(line, cells) not in names)]))
    return "\n\n".join(blocks) + "\n"


def _blocks(text: str) -> list[list[str]]:
    """The lines of paragraphs and tables."""
    return [block.splitlines() for block in text.strip().split("\n\n") if block]


def _telling_apart(lines: list[str]) -> int:
    """The fewest first cells that differ between all rows; all cells, if rows are equal."""
    most = max((line.count("|") for line in lines), default=1)
    return next((n for n in range(1, most) if len({_name(line, n) for line in lines}) == len(lines)), most)


def _name(line: str, cells: int) -> tuple[str, ...]:
    return tuple(line.split("|")[1 : cells + 1])


def page(records: Iterable[Record], tables: Mapping[str, str]) -> str:
    """RESULTS.md: for each wing a table of headlines; below, collapsed, all metrics, commands and studies' tables."""
    records, parts = list(records), [INTRODUCTION]
    names = {name: name.removeprefix("studies.").partition(".")[0] for name in tables}
    for wing, title in WINGS.items():
        own = [record for record in records if wing_of(record) == wing]
        studies = {name: text for name, text in tables.items() if STUDIES.get(names[name], names[name]) == wing}
        if not own and not studies:
            continue
        parts.append(f"## {title}\n")
        if own:
            parts.append(table(HEAD, (line for record in own for line in headlines(record))) + "\n")
            parts.append(collapsed("All metrics", table(METRICS_HEAD, (line for r in own for line in metrics(r)))))
            parts.append(collapsed("Commands", "\n".join(f"- `{r['command']}`" for r in own if r.get("command"))))
        parts += [collapsed(f"Table of {name}", text.strip()) for name, text in studies.items()]
    if benchmarks := {name: text for name, text in tables.items() if names[name] == "benchmarks"}:
        parts.append("## Benchmarks\n")
        parts += [f"### {name}\n\n{text.strip()}\n" for name, text in benchmarks.items()]
    return "\n".join(parts)


def collapsed(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>\n"


def system(record: Record) -> str:
    """The system's name, and the changed fields, except those of the budget and the evaluation."""
    name = record.get("system") or record["experiment"].partition(".")[2]
    hidden = {"steps", "seeds", "seed", "eval_every", "eval_batch", "eval_draws", "eval_raw", "importance_samples"}
    changed = [f"{k}={v}" for k, v in record.get("changed", {}).items() if k not in hidden]
    return f"{name} ({', '.join(changed)})" if changed else name


def value(record: Record, metric: str) -> str:
    error = record.get("standard_errors", {}).get(metric)
    number = record["test"][metric]
    if not error:
        return f"{number:.4g}" + ("" if error is None else " ± 0")
    digits = max(0, 1 - math.floor(math.log10(error)))  # two digits of the error
    return f"{number:.{digits}f} ± {error:.{digits}f}"


def headlines(record: Record) -> Iterator[tuple[str, ...]]:
    """Lines of the wing's table: headline metrics, a published metric that was not measured, and baselines."""
    name, data, seeds, test = system(record), record["data"], str(record["seeds"]), record["test"]
    papers = {paper["metric"]: paper for paper in record["published"]}
    shown = [metric for metric in dict.fromkeys([*papers, *record["headline"]]) if metric in test or metric in papers]
    for metric in shown:
        paper = papers.get(metric)
        published = f"{paper['value']} ({paper['source']})" if paper else ""
        budget = f"{record['steps']:,}" + (f" / {paper['budget']:,}" if paper and paper.get("budget") else "")
        measured = value(record, metric) if metric in test else "–"
        yield name, data, metric, measured, seeds, published, budget
        for baseline, number in record.get("baselines", {}).items():
            kind = [part for part in baseline.split(", ") if part != metric.split(", ")[0]]
            if len(kind) < len(baseline.split(", ")):
                yield f"baseline: {', '.join(kind)}", data, metric.split(", ")[0], f"{number:.4g}", "", "", ""


METRICS_HEAD = ("system", "data", "metric", "measured", "steps", "training", "device", "commit")


def metrics(record: Record) -> Iterator[tuple[str, ...]]:
    """Lines of the table of all metrics and baselines."""
    name, data = system(record), record["data"]
    steps, seconds = f"{record['steps']:,}", f"{record['training_seconds']:.0f} s"
    ends = steps, seconds, record.get("devices") or "", record.get("commit") or ""
    for metric in record["test"]:
        yield name, data, metric, value(record, metric), *ends
    for baseline, number in record.get("baselines", {}).items():
        yield "baseline", data, baseline, f"{number:.4g}", "", "", "", ""


if __name__ == "__main__":
    chosen = parse(Results, __doc__, "experiments.results")
    print(f"{chosen.out}: {update(chosen)} runs and tables")
