"""What `import jaxgen` costs and brings in, and which way imports run."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("tensorflow_datasets", "orbax", "grain", "sklearn", "matplotlib", "tensorflow", "PIL", "tyro")
GROUND = ("bijectors", "nets", "distributions", "losses", "metrics")


def imported(code: str) -> set[str]:
    """Top-level modules that a fresh process holds after `code`."""
    process = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*{{m.split('.')[0] for m in sys.modules}})"],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return set(process.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import jaxgen",
        "import jaxgen.data, jaxgen.plotting",
        "from jaxgen import bijectors, distributions, losses, metrics, nets",
        "from jaxgen.models import flows, gans, vaes",
    ],
)
def test_importing_brings_in_nothing_heavy(code):
    found = imported(code)
    assert "jax" in found and not found & set(HEAVY)


def modules_imported_by(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def allowed(file: Path) -> tuple[str, ...]:
    """The parts of the package that a file of it may import."""
    shared = (
        "arguments", "autodiff", "contracts", "convolution", "distributions", "exponential", "moments", "precision",
        "sharding",
    )  # fmt: skip
    everyone = tuple(f"jaxgen.{name}" for name in shared)
    room = file.relative_to(ROOT / "jaxgen").parts[0]
    if room in GROUND:
        return (*everyone, f"jaxgen.{room}")
    if room == "models":
        return (*everyone, *(f"jaxgen.{ground}" for ground in GROUND), "jaxgen.models")
    if room == "data":
        return ("jaxgen.data",)
    if room == "training":
        below = ("contracts", "data", "plotting", "precision", "sharding", "training", "writing")
        return tuple(f"jaxgen.{name}" for name in below)
    return {
        "__init__.py": ("jaxgen.training",), "convolution.py": ("jaxgen.autodiff",), "plotting.py": ("jaxgen.writing",)
    }.get(room, ())


@pytest.mark.parametrize("file", sorted((ROOT / "jaxgen").rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_run_downwards(file):
    ours = {name for name in modules_imported_by(file) if name.split(".")[0] in ("jaxgen", "experiments", "tests")}
    strangers = {name for name in ours - {"jaxgen"} if not name.startswith(allowed(file))}
    assert not strangers
