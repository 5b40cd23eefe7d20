"""The notebooks execute, and what is committed of them is an execution of their code."""

import ast
import re

import nbformat
import pytest

from notebooks import execute as executing

NOTEBOOKS = {path.stem: path for path in executing.notebooks()}
SLOW = ("a_trained_run", "composing_bijectors", "latent_space", "texts_and_adversaries")
PICTURES = {
    "a_trained_run": 5, "composing_bijectors": 4, "latent_space": 4, "losses_in_your_own_loop": 1,
    "texts_and_adversaries": 1,
}  # fmt: skip
MOST_BYTES = 400_000
# what a Unix, a macOS or a Windows machine calls its folders
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/<])/(tmp|home|work|root|usr|opt|var|mnt|Users|private)/|\b[A-Z]:\\")


def committed(name):
    return nbformat.read(NOTEBOOKS[name], as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(cell):
    return [output for output in cell.outputs if "image/png" in output.get("data", {})]


def texts(notebook):
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", ()):
            yield output.get("text", "")
            yield from (str(value) for kind, value in output.get("data", {}).items() if kind != "image/png")


def ends_in_a_picture(cell):
    """A picture is shown by `plt.show()`, by pyplot figures left open, or by the figure that is the last value."""
    return bool(re.search(r"plt\.subplots|plotting\.(samples|density|curves|rows)\(", cell.source))


def test_every_notebook_is_tested():
    assert set(NOTEBOOKS) == set(PICTURES) == set(executing.SHORT)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in sorted(PICTURES)]
)
def test_executes_from_first_to_last_cell_without_complaint(name, monkeypatch):
    # small compilations are most of a short execution
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.02")
    before = NOTEBOOKS[name].read_bytes()
    executed = executing.execute(NOTEBOOKS[name], executing.SHORT[name], timeout=300)
    assert executing.complaints(executed) == []
    for old, new in zip(code_cells(committed(name)), code_cells(executed), strict=True):
        assert new.execution_count is not None
        # the committed outputs are of this code: as many pictures, and text where there is text
        assert len(pictures(old)) == len(pictures(new)), old.id
        assert bool(old.outputs) == bool(new.outputs), old.id
    assert NOTEBOOKS[name].read_bytes() == before


@pytest.mark.parametrize("name", sorted(PICTURES))
class TestWhatIsCommitted:
    def test_was_executed_in_order(self, name):
        cells = code_cells(committed(name))
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))

    def test_has_its_pictures(self, name):
        cells = code_cells(committed(name))
        assert sum(len(pictures(cell)) for cell in cells) == PICTURES[name]
        for cell in cells:
            assert bool(pictures(cell)) == ends_in_a_picture(cell), cell.id

    def test_has_no_errors_and_no_warnings(self, name):
        assert executing.complaints(committed(name)) == []

    def test_names_no_place_on_the_machine_that_made_it(self, name):
        assert [text for text in texts(committed(name)) if ABSOLUTE_PATH.search(text)] == []

    def test_is_clean_and_small(self, name):
        notebook = committed(name)
        nbformat.validate(notebook)
        assert executing.cleaned(notebook) == notebook
        assert notebook.metadata.kernelspec.name == "python3"
        assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
        assert NOTEBOOKS[name].stat().st_size < MOST_BYTES

    def test_its_lines_fit(self, name):
        for cell in committed(name).cells:
            assert max(map(len, cell.source.splitlines())) <= 120, cell.id

    def test_short_parameters_are_its_own_and_smaller(self, name):
        own = executing.parameters_of(committed(name))
        for parameter, value in executing.SHORT[name].items():
            assert 0 < value <= own[parameter]


def test_a_committed_notebook_that_complains_is_noticed():
    cell = nbformat.v4.new_code_cell("1", id="a")
    said = [("stdout", "fine"), ("stdout", "x.py:3: UserWarning: no"), ("stderr", "no")]
    cell.outputs = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in said]
    cell.outputs.append(nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]))
    found = executing.complaints(nbformat.v4.new_notebook(cells=[cell]))
    assert found == ["a: x.py:3: UserWarning: no", "a: no", "a: ValueError: no"]


def test_cleaning_joins_the_pieces_of_a_stream_and_keeps_the_rest():
    cell = nbformat.v4.new_code_cell("1", id="a", metadata={"tags": ["parameters"], "execution": {"started": "now"}})
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in ("a\n", "b\n")]
    cleaned = executing.cleaned(
        nbformat.v4.new_notebook(cells=[cell], metadata={"language_info": {"name": "python", "version": "3"}})
    )
    assert cleaned.cells[0].metadata == {"tags": ["parameters"]}
    assert [output.text for output in cleaned.cells[0].outputs] == ["a\nb\n"]
    assert cleaned.metadata.language_info == {"name": "python"}


def test_a_parameter_that_is_not_there_is_refused(tmp_path):
    cell = nbformat.v4.new_code_cell("steps = 3", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    with pytest.raises(ValueError, match=r"must be among \['steps'\], got \['stops'\]"):
        executing.execute(tmp_path / "n.ipynb", {"stops": 1})


def test_a_name_of_the_package_that_a_notebook_imports_is_public():
    """Users copy imports from notebooks: none of them may start with an underscore."""
    for name in NOTEBOOKS:
        for cell in code_cells(committed(name)):
            source = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ImportFrom):
                    parts = [*node.module.split("."), *(alias.name for alias in node.names)]
                    assert not any(part.startswith("_") for part in parts)
