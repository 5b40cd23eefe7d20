"""The command line of experiments: parsing it, and running another experiment in its own process."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from jaxgen.data import DataError, checks

C = TypeVar("C")


def parse(config: type[C], description: str, module: str, arguments: Sequence[str] | None = None) -> C:
    """Parses the command line of `python -m <module>`, or other arguments; paths are made absolute.

    `--preset` changes the defaults to those in the config's `PRESETS`; other arguments replace them.

    Characters that the terminal cannot encode are printed as escape sequences instead of raising an error.
    """
    import tyro

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    cli = partial(tyro.cli, config, description=description, prog=f"python -m {module}", args=arguments)
    parsed = cli()
    if preset := getattr(config, "PRESETS", {}).get(getattr(parsed, "preset", None)):
        parsed = cli(default=dataclasses.replace(config(), preset=parsed.preset, **preset))
    paths = {field.name: getattr(parsed, field.name) for field in dataclasses.fields(parsed)}
    try:
        absolute = {name: checks.location(name, path) for name, path in paths.items() if isinstance(path, Path)}
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    return dataclasses.replace(parsed, **absolute)


def run(module: str, out: Path, *arguments: str | Sequence[str]) -> None:
    """Runs `python -m experiments.<module> --out <out> --overwrite` with more arguments, and prints the command.

    Raises:
        subprocess.CalledProcessError: it failed; its messages were printed.
    """
    words = [word for argument in arguments for word in ([argument] if isinstance(argument, str) else argument)]
    command = [sys.executable, "-m", f"experiments.{module}", "--out", str(out), "--overwrite", *words]
    print(" ".join(command[1:]), flush=True)
    # runs with different seeds share compiled programs
    cache = {"JAX_COMPILATION_CACHE_DIR": str((out.parent / "compiled").resolve())}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**cache, **os.environ})
