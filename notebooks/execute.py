"""Executes the notebooks of this folder.

    python -m notebooks.execute            executes each one and writes it back with its new outputs
    python -m notebooks.execute --check    executes each one with a few steps only and writes nothing

What is written has no times and no versions in it, and cells keep their ids, so that a change of a notebook is a small
change of its file. The code of a cell tagged "parameters" is what a short execution replaces.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent

SHORT: Mapping[str, Mapping[str, int]] = {
    "a_trained_run": {"steps": 4, "scales": 1, "width": 4},
    "composing_bijectors": {"steps": 20},
    "latent_space": {"steps": 4, "width": 4, "plane_steps": 20},
    "losses_in_your_own_loop": {"steps": 20},
}
"""By notebook, the parameters of a short execution."""


def notebooks() -> list[Path]:
    """The notebooks of this folder."""
    return sorted(FOLDER.glob("*.ipynb"))


def execute(path: Path, parameters: Mapping[str, int] | None = None, timeout: int = 600) -> NotebookNode:
    """The notebook with the outputs of an execution from its first cell to its last; the file is left alone.

    Args:
        parameters: values in place of those in the cell tagged "parameters".
        timeout: seconds that a cell may take.

    Raises:
        CellExecutionError: a cell raised an exception.
        ValueError: a parameter that the notebook does not have.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    if parameters:
        _replace(notebook, parameters)
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", record_timing=False, resources={"metadata": {"path": str(ROOT)}}
    )
    client.execute(env={**os.environ, "PYTHONPATH": python_path})
    return cleaned(notebook)


def parameters_of(notebook: NotebookNode) -> dict[str, object]:
    """What the cell tagged "parameters" assigns, by name."""
    assigned = {}
    for cell in _tagged(notebook):
        for line in ast.parse(cell.source).body:
            assigned[line.targets[0].id] = ast.literal_eval(line.value)
    return assigned


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what differs between two executions of the same code; streams of one cell are joined."""
    notebook = nbformat.from_dict(notebook)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
        for output in cell.get("outputs", ()):
            if "metadata" in output:
                output.metadata = {}
    return nbformat.from_dict(notebook)


def complaints(notebook: NotebookNode) -> list[str]:
    """What an execution said that a reader should not have to see: errors, warnings, anything on stderr."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            text = output.get("text", "") + "".join(output.get("data", {}).get("text/plain", ""))
            if output.output_type == "error":
                found.append(f"{cell.id}: {output.ename}: {output.evalue}")
            elif output.get("name") == "stderr" or re.search(r"\w*Warning\b", text):
                found.append(f"{cell.id}: {text.strip()}")
    return found


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """How a stream is cut into pieces is a matter of time."""
    joined: list[NotebookNode] = []
    for output in outputs:
        before = joined[-1] if joined else {}
        if output.output_type == before.get("output_type") == "stream" and output.name == before.name:
            before.text += output.text
        else:
            joined.append(output)
    return joined


def _tagged(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]


def _replace(notebook: NotebookNode, parameters: Mapping[str, int]) -> None:
    there = parameters_of(notebook)
    if unknown := sorted(set(parameters) - set(there)):
        raise ValueError(f"the notebook has the parameters {sorted(there)}, not {unknown}")
    (cell,) = _tagged(notebook)
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in {**there, **parameters}.items())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m notebooks.execute", description="Executes the notebooks and writes them back with their outputs."
    )
    parser.add_argument("names", nargs="*", help="notebooks without their suffix; all by default")
    parser.add_argument("--check", action="store_true", help="execute with a few steps and write nothing")
    given = parser.parse_args()
    there = {path.stem: path for path in notebooks()}
    if unknown := sorted(set(given.names) - set(there)):
        parser.error(f"there is no notebook {', '.join(unknown)}: there are {', '.join(there)}")

    failed = False
    for name in given.names or there:
        began = time.monotonic()
        try:
            notebook = execute(there[name], SHORT.get(name) if given.check else None)
            wrong = complaints(notebook)
        except CellExecutionError as error:
            wrong = [str(error)]
        print(f"{name}: {'failed' if wrong else 'ok'}, {time.monotonic() - began:.0f} s", flush=True)
        print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
        failed |= bool(wrong)
        if not (given.check or wrong):
            nbformat.write(notebook, there[name])
    sys.exit(failed)


if __name__ == "__main__":
    main()
