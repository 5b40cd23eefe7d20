"""Runs' folders that are damaged, forged, or no runs' folders: what `jaxgen.load` says of them."""

import copy
import json
import os

import hypothesis
import hypothesis.strategies as st
import pytest

import jaxgen
from jaxgen.models.flows.real_nvp import real_nvp_vector
from jaxgen.training import Settings
from jaxgen.training.description import build, describe
from jaxgen.training.folder import RunFolder
from tests.malformed import examples, outcome, refused

FLOW = real_nvp_vector(2, depth=1, widths=(3,))
WHOLE = {"model": describe(FLOW), "row": {"x": [[2], "float32"]}}
MLP = "jaxgen.nets.mlp.MLP"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's folder without checkpoints: a description that is taken gets no further than that."""
    return tmp_path_factory.mktemp("run")


def written(folder, value):
    text = value if isinstance(value, str) else json.dumps(value)
    (folder / "model.json").write_text(text, errors="surrogatepass")
    return folder


def test_a_whole_description_is_taken(folder):
    refused(lambda: jaxgen.load(written(folder, WHOLE)), "has not saved a checkpoint")


@pytest.mark.parametrize("path", [None, 3, b"runs", "", "a\0b", "x" * 500, "nope", ["."]])
def test_what_is_no_folder_is_refused(path):
    refused(lambda: jaxgen.load(path), "folder")


def test_folders_of_something_else_are_refused(tmp_path):
    refused(lambda: jaxgen.load(tmp_path), "model.json")
    (tmp_path / "file").write_text("x")
    refused(lambda: jaxgen.load(tmp_path / "file"), "file")
    (tmp_path / "model.json").mkdir()
    refused(lambda: jaxgen.load(tmp_path), "model.json")


@examples(60)
@hypothesis.given(
    st.one_of(
        st.text(max_size=30),
        st.integers(0, len(json.dumps(WHOLE)) - 1).map(lambda n: json.dumps(WHOLE)[:n]),
        st.sampled_from(["[" * 10**5, '{"a":' * 10**5, '{"model":' * 900 + "1" + "}" * 900, "\ud800", "nan", "\0"]),
    )
)
def test_what_is_no_json_is_refused(folder, text):
    refused(lambda: jaxgen.load(written(folder, text)), "model.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["model", "row", "class", "fields", "function", "partial", "args", "keywords", "dict", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@examples(100)
@hypothesis.given(json_values, st.sampled_from(["", "model", "row"]))
def test_other_values_are_no_description(folder, value, where):
    given = value if not where else {**WHOLE, where: value}
    hypothesis.assume(given != WHOLE)
    _, said = outcome(lambda: jaxgen.load(written(folder, given)))
    assert said is not None and str(folder) in said


ROWS = (
    {"x": [[2], "nope"]},
    {"x": [[2], "object"]},
    {"x": [[2], "U3"]},
    {"x": [[2], "datetime64[D]"]},
    {"x": [[-2], "float32"]},
    {"x": [[2.5], "float32"]},
    {"x": ["2", "float32"]},
    {"x": [[10**12], "float32"]},
    {"x": [[3], "float32"]},
    {"y": [[2], "float32"]},
    {"x": [[2], None]},
    {"x": [[2]]},
    {"x": {"x": [[2], "float32"]}},
    [[2], "float32"],
    {"x": [[], "int8"]},
)


@pytest.mark.parametrize("row", ROWS)
def test_rows_that_are_none_are_refused(folder, row):
    refused(lambda: jaxgen.load(written(folder, {**WHOLE, "row": row})), "model.json")


FOREIGN = (
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "subprocess.Popen",
    "jaxgen.training.loop.fit",
    "jaxgen.data.source",
    "jaxgen.training.load.load",
    "jaxgen.models.__loader__",
    "jaxgen.models.flows.flow.math",
    "jaxgen.nets.mlp.__builtins__",
    "jaxgen.nets.mlp.nope",
    "jaxgen.nope.x",
    "jax.numpy.load",
    "jax.numpy.save",
    "jax.nn.__doc__",
    "flax.linen.nope",
    "",
    ".",
    "..",
    "jaxgen.nets..x",
    "jaxgen.models.ü",
    "jax.nn.\ud800",
    "jax.nn." + "a" * 9999,
    "jax.jit",
    "flax.serialization.from_bytes",
)


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_names_are_refused_and_not_called(folder, name):
    for description in (
        {"function": name},
        {"class": name, "fields": {}},
        {"partial": {"function": name}, "args": ["touch x"], "keywords": {}},
        {"class": MLP, "fields": {"activation": {"function": name}}},
    ):
        refused(lambda d=description: build(d), "is not a class or function")
        refused(lambda d=description: jaxgen.load(written(folder, {**WHOLE, "model": d})), "model.json")


ENTRIES = (
    {"class": MLP},
    {"class": MLP, "fields": 3},
    {"class": MLP, "fields": None},
    {"class": MLP, "fields": [["widths", 3]]},
    {"class": MLP, "fields": {"nope": 1}},
    {"class": {"a": 1}, "fields": {}},
    {"class": None, "fields": {}},
    {"function": 3},
    {"function": None},
    {"function": ["os"]},
    {"dict": 3},
    {"dict": [[1]]},
    {"dict": [[{"dict": []}, 1]]},
    {"partial": 3},
    {"partial": {"function": "jax.nn.relu"}},
    {"partial": {"function": "jax.nn.relu"}, "args": 3, "keywords": {}},
    {"partial": {"function": "jax.nn.relu"}, "args": [], "keywords": 3},
    {"partial": {"dict": []}, "args": [], "keywords": {}},
    {"class": "jaxgen.models.flows.flow.Flow", "fields": {}},
    {"class": "jax.nn.relu", "fields": {}},
    {},
    {"x" * 9999: 1},
    {"class": "jaxgen.distributions.dequantization.UniformDequantization", "fields": {"levels": "x"}},
    {"class": "jaxgen.distributions.dequantization.UniformDequantization", "fields": {"levels": 1000}},
)


@pytest.mark.parametrize("entry", ENTRIES)
def test_entries_that_nothing_describes_are_refused(entry):
    refused(lambda: build(entry))


OTHER_VERSIONS = {
    "a class that was renamed": (
        {"class": "jaxgen.models.vaes.vae.OldVAE", "fields": {}},
        "jaxgen.models.vaes.vae.OldVAE",
    ),
    "a module that was moved": (
        {"class": "jaxgen.models.players.Player", "fields": {}},
        "jaxgen.models.players.Player",
    ),
    "a field that was removed": ({"class": MLP, "fields": {"widths": [3], "units": 3}}, "no field ['units']"),
    "a field that was added": (
        {"class": "jaxgen.bijectors.coupling.Coupling", "fields": {}},
        "['conditioner', 'transformer']",
    ),
}


@pytest.mark.parametrize("part", OTHER_VERSIONS)
def test_runs_of_another_version_are_refused_in_one_sentence(folder, part):
    entry, named = OTHER_VERSIONS[part]
    flow = {**WHOLE["model"], "fields": {**WHOLE["model"]["fields"], "bijector": entry}}
    message = refused(lambda: jaxgen.load(written(folder, {**WHOLE, "model": flow})), named, str(folder))
    assert message.startswith("`folder` was written by another version of jaxgen: ")


def test_foreign_names_are_not_taken_for_another_version(folder):
    message = refused(lambda: jaxgen.load(written(folder, {**WHOLE, "model": {"function": "os.system"}})))
    assert "another version" not in message


def paths(value, path=()):
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from paths(value[key], (*path, key))


@examples(120)
@hypothesis.given(
    st.sampled_from(list(paths(WHOLE))[1:]),
    st.sampled_from(
        [
            None,
            0,
            -1,
            2.5,
            "x",
            [],
            {},
            [1, 2],
            True,
            MLP,
            {"function": "jax.nn.relu"},
            {"class": MLP, "fields": {}},
            float("nan"),
        ]
    ),
)
def test_a_description_with_another_value_somewhere_is_refused_or_another_model(folder, path, value):
    given = copy.deepcopy(WHOLE)
    place = given
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    refused(lambda: jaxgen.load(written(folder, given)), str(folder))


def file(path):
    path.write_text("x")


def empty(path):
    path.mkdir()


def step(path):
    (path / "4").mkdir(parents=True)


def garbage(path):
    (path / "4" / "average").mkdir(parents=True)
    (path / "4" / "average" / "manifest.ocdbt").write_bytes(os.urandom(50))


@pytest.mark.parametrize("place", ["best", "checkpoints"])
@pytest.mark.parametrize("make", [file, empty, step, garbage])
def test_checkpoints_that_are_none_are_refused(tmp_path, place, make):
    make(written(tmp_path, WHOLE) / place)
    refused(lambda: jaxgen.load(tmp_path), str(tmp_path))


def test_other_arguments_are_named(folder):
    written(folder, WHOLE)
    refused(lambda: jaxgen.load(folder, which="latest"), "`which` must be", "got 'latest'")
    for model in (3, "flow", real_nvp_vector, type(FLOW)):
        refused(lambda model=model: jaxgen.load(folder, model=model), "model")
    refused(lambda: jaxgen.load(folder, model=real_nvp_vector(3, depth=1, widths=(3,))), "(3,)")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\0", "[" * 10**5, "3"])
def test_a_damaged_config_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    refused(lambda: RunFolder(tmp_path).open({"steps": 1}, resume=True), "config.json")


@examples(80)
@hypothesis.given(
    st.sampled_from(
        [
            "steps",
            "batch_size",
            "log_every",
            "eval_every",
            "eval_batch",
            "eval_draws",
            "checkpoint_every",
            "keep",
            "steps_per_call",
            "accumulate",
            "devices",
        ]
    ),
    st.integers(max_value=0),
)
def test_settings_below_one_are_named(name, value):
    refused(lambda: Settings(**{name: value}).check(), f"`{name}` must be at least 1", f"got {value}")


@pytest.mark.parametrize("ema", [-0.1, 1.0, 2.0, float("nan"), float("inf"), -float("inf")])
def test_averages_forget_something(ema):
    refused(lambda: Settings(ema=ema).check(), "ema")
