"""What `import jaxgen` costs and brings in, and which way imports run."""

import ast
import email
import importlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("tensorflow_datasets", "orbax", "grain", "sklearn", "matplotlib", "tensorflow", "PIL", "tyro")
GROUND = ("attacks", "bijectors", "nets", "distributions", "losses", "metrics")


PACKAGES = sorted(
    ".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "jaxgen").rglob("__init__.py")
)


def imported(code: str) -> set[str]:
    """Top-level modules that a fresh process holds after `code`."""
    process = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*{{m.split('.')[0] for m in sys.modules}})"],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return set(process.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import jaxgen; jaxgen.fit, jaxgen.load",
        "import jaxgen.data, jaxgen.plotting",
        "from jaxgen import attacks, bijectors, distributions, losses, metrics, nets",
        "from jaxgen.models import flows, gans, translation, vaes",
    ],
)
def test_importing_brings_in_nothing_heavy(code):
    found = imported(code)
    assert "numpy" in found and not found & set(HEAVY)


def test_importing_the_package_alone_imports_no_library():
    assert not imported("import jaxgen") & {"jax", "jaxlib", "flax", "optax", "numpy", *HEAVY}


def test_subpackages_are_imported_when_they_are_used():
    code = """
import jaxgen
assert callable(jaxgen.losses.elbo)
assert jaxgen.bijectors.Affine and jaxgen.models.flows.maf and jaxgen.models.Classifier and jaxgen.contracts.Model
assert "optax" in __import__("sys").modules and "jaxgen.models.gans" not in __import__("sys").modules
"""
    imported(code)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_listed_and_exist(package):
    module = importlib.import_module(package)
    names = module.__all__
    assert names and sorted(set(names)) == sorted(names) == sorted(dir(module))
    for name in names:
        assert not name.startswith("_") and getattr(module, name) is not None
    # the list is in the file, where type checkers and readers find it, and holds all that is imported there
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    written = next(n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "__all__")
    assert ast.literal_eval(written) == names
    reexported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module not in ("typing", "jaxgen.lazy")
        for alias in node.names
    }
    assert reexported == set(names)


def test_an_unknown_name_is_an_attribute_error():
    for package in ("jaxgen", "jaxgen.models"):
        with pytest.raises(AttributeError, match=f"^module '{package}' has no attribute 'flow'$"):
            importlib.import_module(package).flow  # noqa: B018


@pytest.mark.parametrize(
    "of_ones_own",
    [
        "Bijector Transformer ZeroHead event_axes sum_over_event",
        "Likelihood StandardDistribution",
        "EventHead GaussianHead ScalarHead VectorHead",
        "AdversarialLoss Critic Generator Penalty Term",
    ],
)
def test_what_a_part_of_ones_own_is_made_from_is_public(of_ones_own):
    rooms = [importlib.import_module(package) for package in PACKAGES]
    assert any(set(of_ones_own.split()) <= set(room.__all__) for room in rooms)


def test_a_wheel_holds_the_license_and_the_marker_of_types(tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "jaxgen", tree / "jaxgen", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    pytest.importorskip("setuptools", minversion="77")
    # without the network: by the backend itself, as pip calls it
    build = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], check=True, capture_output=True, cwd=tree)
    with zipfile.ZipFile(next(tmp_path.glob("jaxgen-*.whl"))) as wheel:
        names = wheel.namelist()
        (metadata,) = (name for name in names if name.endswith("dist-info/METADATA"))
        described = email.message_from_bytes(wheel.read(metadata))
        (license,) = (name for name in names if name.endswith("dist-info/licenses/LICENSE"))
        assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in wheel.read(license).decode()
    assert "jaxgen/py.typed" in names and described["License-Expression"] == "Apache-2.0"
    assert "Typing :: Typed" in described.get_all("Classifier") and described["Keywords"]


def test_what_pyproject_promises_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (license,) = project["project"]["license-files"]
    assert project["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / license).read_text(encoding="utf-8")
    for package, files in project["tool"]["setuptools"]["package-data"].items():
        assert "py.typed" in files and all((ROOT / package / file).is_file() for file in files)


def test_text_files_are_opened_as_utf_8():
    """Python's default is the terminal's encoding, which may be ASCII."""
    for file in [*(ROOT / "jaxgen").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", None))
                binary = any(isinstance(a, ast.Constant) and "b" in str(a.value) for a in node.args[1:2])
                builtin = isinstance(node.func, ast.Name) and name == "open"
                opens = name in ("read_text", "write_text") or (builtin and not binary)
                told = any(keyword.arg == "encoding" for keyword in node.keywords)
                assert told or not opens, f"{file.relative_to(ROOT)}:{node.lineno}"


def modules_imported_by(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def allowed(file: Path) -> tuple[str, ...]:
    """The parts of the package that a file of it may import."""
    shared = (
        "arguments", "autodiff", "contracts", "convolution", "distributions", "lazy", "numerics",
        "precision", "sharding", "tokens", "warping",
    )  # fmt: skip
    everyone = tuple(f"jaxgen.{name}" for name in shared)
    room = file.relative_to(ROOT / "jaxgen").parts[0]
    if room in GROUND:
        return (*everyone, f"jaxgen.{room}")
    if room == "models":
        return (*everyone, *(f"jaxgen.{ground}" for ground in GROUND), "jaxgen.models")
    if room == "data":
        return ("jaxgen.data",)
    if room == "convolution":
        return ("jaxgen.autodiff", "jaxgen.convolution", "jaxgen.sharding")
    if room == "training":
        below = (
            "arguments", "contracts", "data", "distributions", "plotting", "precision", "sharding", "training",
            "writing",
        )  # fmt: skip
        return tuple(f"jaxgen.{name}" for name in below)
    return {
        "__init__.py": ("jaxgen",),
        "arguments.py": ("jaxgen.sharding",),
        "plotting.py": ("jaxgen.writing",),
        "warping.py": ("jaxgen.arguments",),
    }.get(room, ())


@pytest.mark.parametrize("file", sorted((ROOT / "jaxgen").rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_run_downwards(file):
    ours = {name for name in modules_imported_by(file) if name.split(".")[0] in ("jaxgen", "experiments", "tests")}
    strangers = {name for name in ours - {"jaxgen"} if not name.startswith(allowed(file))}
    assert not strangers
