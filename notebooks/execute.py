"""Executes the notebooks of this folder.

    python -m notebooks.execute            executes each one and writes it back with its new outputs
    python -m notebooks.execute --check    executes each one with a few steps only and writes nothing

Outputs are written without times and versions, and cells keep their ids, so that diffs are small. A short execution
replaces the values in the cell tagged "parameters".
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
    "texts_and_adversaries": {"steps": 2, "rounds": 1, "measured": 10},
}
"""By notebook, the parameters of a short execution."""


def notebooks() -> list[Path]:
    """The notebooks of this folder."""
    return sorted(FOLDER.glob("*.ipynb"))


def execute(path: Path, parameters: Mapping[str, int] | None = None, timeout: int = 600) -> NotebookNode:
    """The notebook with the outputs of an execution of all cells; does not change the file.

    Args:
        parameters: values that replace those in the cell tagged "parameters".
        timeout: seconds per cell.

    Raises:
        CellExecutionError: a cell raised an exception.
        ValueError: the notebook does not have a parameter.
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
    """The values that the cell tagged "parameters" assigns, by name."""
    assigned = {}
    for cell in _tagged(notebook):
        for line in ast.parse(cell.source).body:
            assigned[line.targets[0].id] = ast.literal_eval(line.value)
    return assigned


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """The notebook without metadata that differs between executions; the streams of a cell are joined."""
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
    """Errors, warnings and stderr output of an execution."""
    messages = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            text = output.get("text", "") + "".join(output.get("data", {}).get("text/plain", ""))
            if output.output_type == "error":
                messages.append(f"{cell.id}: {output.ename}: {output.evalue}")
            elif output.get("name") == "stderr" or re.search(r"\w*Warning\b", text):
                messages.append(f"{cell.id}: {text.strip()}")
    return messages


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Joins consecutive outputs of one stream, whose pieces depend on timing."""
    joined: list[NotebookNode] = []
    for output in outputs:
        previous = joined[-1] if joined else {}
        if output.output_type == previous.get("output_type") == "stream" and output.name == previous.name:
            previous.text += output.text
        else:
            joined.append(output)
    return joined


def _tagged(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]


def _replace(notebook: NotebookNode, parameters: Mapping[str, int]) -> None:
    values = parameters_of(notebook)
    if unknown := sorted(set(parameters) - set(values)):
        raise ValueError(f"`parameters` must be among {sorted(values)}, got {unknown}")
    (cell,) = _tagged(notebook)
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in {**values, **parameters}.items())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m notebooks.execute", description="Executes the notebooks and writes them back with their outputs."
    )
    parser.add_argument("names", nargs="*", help="notebooks without their suffix; all by default")
    parser.add_argument("--check", action="store_true", help="execute with a few steps and write nothing")
    arguments = parser.parse_args()
    paths = {path.stem: path for path in notebooks()}
    if unknown := sorted(set(arguments.names) - set(paths)):
        parser.error(f"names must be among {', '.join(paths)}, got {', '.join(unknown)}")

    failed = False
    for name in arguments.names or paths:
        began = time.monotonic()
        try:
            notebook = execute(paths[name], SHORT.get(name) if arguments.check else None)
            messages = complaints(notebook)
        except CellExecutionError as error:
            messages = [str(error)]
        print(f"{name}: {'failed' if messages else 'ok'}, {time.monotonic() - began:.0f} s", flush=True)
        print(*messages, sep="\n", end="\n" if messages else "", file=sys.stderr)
        failed |= bool(messages)
        if not (arguments.check or messages):
            nbformat.write(notebook, paths[name])
    sys.exit(failed)


if __name__ == "__main__":
    main()
