"""Communication of a step between devices, and the efficiency that it allows: `python -m experiments.benchmarks.scale`.

Compiles the steps of Glow and of WGAN-GP at their published sizes for eight virtual devices, without running them, and
reads the collectives from the compiled programs, multiplied by the trip counts of their loops. With the multiply-adds
of a step this gives the efficiency on N chips, if a ring sums the gradients and communication does not overlap
arithmetic:

    E(N) = t / (t + 2 (N - 1) / N * S / W),    t = 2 M / F

M: multiply-adds of a step on one chip, F: its floating-point operations per second, S: bytes that are summed, W: bytes
per second between neighbours. This is a lower bound: XLA overlaps the sums of one loop iteration with the next one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.extend
import numpy as np

from experiments.commands import parse
from jaxgen.contracts import Model, Play
from jaxgen.models.flows.glow import glow
from jaxgen.models.gans import residual_wgan_gp
from jaxgen.training import init_state, jit_step, make_mesh, make_train_step
from jaxgen.training.devices import replicated, split

DEVICES = 8
CHIPS = (8, 64, 512)
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}


@dataclass(frozen=True)
class Scale:
    only: tuple[str, ...] = ()
    """Names of games; all by default."""
    teraflops: float = 100.0
    """Sustained by a chip: a third of the peak of today's chips, in bfloat16."""
    gigabytes: float = 50.0
    """Per second, in one direction of the ring of chips."""
    out: Path = Path("runs/benchmarks/scale")
    """The folder for table.md and scale.json."""


class Game(NamedTuple):
    """A model at its published size, images and batch of one device."""

    model: Model
    image: tuple[int, int, int]
    batch: int


def games() -> dict[str, Game]:
    gan = replace(residual_wgan_gp((32, 32, 3)), critic_steps=1)
    return {
        "Glow, CIFAR-10": Game(glow((32, 32, 3), num_scales=3, depth=32, width=512), (32, 32, 3), 64),
        "WGAN-GP, CIFAR-10": Game(gan, (32, 32, 3), 64),
    }


class Collective(NamedTuple):
    """A collective of a compiled program: kind, bytes of its results, and executions per step."""

    kind: str
    bytes: int
    times: int


def collectives(program: str) -> list[Collective]:
    """The collectives in the text of a compiled program."""
    computations: dict[str, list[str]] = {}
    main, lines, results = "", [], []
    for line in program.splitlines():
        if begins := re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line):
            lines = computations.setdefault(begins[2], [])
            main = begins[2] if begins[1] else main
        else:
            lines.append(line)

    def visit(name: str, times: int) -> None:
        for line in computations.get(name, ()):
            if match := re.search(rf"= (.*?) ({'|'.join(KINDS)})(-start)?\(", line):
                results.append(Collective(match[2], size(match[1]), times))
            count = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
            for called in re.findall(r"(?:body|to_apply|calls|_computation)=%?([\w.\-]+)", line):
                visit(called, times * (int(count[1]) if count else 1))

    visit(main, 1)
    return results


def size(shapes: str) -> int:
    """Bytes of arrays in the notation of a program's text, `(f32[8,2]{1,0}, u8[3])`."""
    return sum(
        BYTES[kind] * math.prod(int(side) for side in sides.split(",") if side)
        for kind, sides in re.findall(r"(\w+)\[([\d,]*)\]", shapes)
    )


def multiply_adds(jaxpr: Any) -> int:
    """Multiply-adds of all matrix products and convolutions of a program, times the trip counts of loops."""
    total = 0
    for equation in jaxpr.eqns:
        shapes = [v.aval.shape for v in equation.invars]
        if equation.primitive.name == "dot_general":
            (summed, _), _ = equation.params["dimension_numbers"]
            total += math.prod(equation.outvars[0].aval.shape) * math.prod(shapes[0][axis] for axis in summed)
        elif equation.primitive.name == "conv_general_dilated":
            numbers = equation.params["dimension_numbers"]
            kernel = math.prod(side for i, side in enumerate(shapes[1]) if i != numbers.rhs_spec[0])
            total += math.prod(equation.outvars[0].aval.shape) * kernel
        trips = equation.params["length"] if equation.primitive.name == "scan" else 1
        total += trips * sum(multiply_adds(part) for part in jax.extend.core.jaxprs_in_params(equation.params))
    return total


@dataclass(frozen=True)
class Measured:
    """A play of a game, for each device.

    Attributes:
        parameters: number of parameters of its players.
        multiply_adds: of a step, in billions.
        collectives: number of collectives in a step.
        megabytes: total size of their results.
        kinds: kinds of the collectives.
        efficiency: efficiency by number of chips.
    """

    game: str
    play: str
    parameters: int
    multiply_adds: float
    collectives: int
    megabytes: float
    kinds: tuple[str, ...]
    efficiency: Mapping[int, float]


def measure(name: str, game: Game, config: Scale) -> Iterator[Measured]:
    """Measures each play of a game alone, run at every step."""
    mesh = make_mesh(DEVICES)
    examples = DEVICES * game.batch
    batch = {"x": jax.ShapeDtypeStruct((examples, *game.image), np.uint8, sharding=split(mesh))}
    alone = {"x": jax.ShapeDtypeStruct((game.batch, *game.image), np.uint8)}
    for play, moves in game.model.plays().items():
        plays: dict[str, Play] = {play: moves._replace(when=None)}
        state = jax.eval_shape(lambda b, plays=plays: init_state(game.model, plays, jax.random.key(0), b), alone)
        whole = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=replicated(mesh)), state)
        step = make_train_step(plays)
        sums = collectives(jit_step(step, mesh).lower(whole, batch).compile().as_text())
        products = multiply_adds(jax.make_jaxpr(step)(state, alone).jaxpr)
        sent = sum(c.bytes * c.times for c in sums)
        yield Measured(
            name, play, sum(leaf.size for player in moves.players for leaf in jax.tree.leaves(state.params[player])),
            products / 1e9, sum(c.times for c in sums), sent / 1e6, tuple(sorted({c.kind for c in sums})),
            {n: efficiency(n, products, sent, config) for n in CHIPS},
        )  # fmt: skip


def efficiency(chips: int, products: float, sent: float, config: Scale) -> float:
    """The fraction of a step that is arithmetic, E(N) above."""
    arithmetic = 2 * products / (1e12 * config.teraflops)
    return arithmetic / (arithmetic + 2 * (chips - 1) / chips * sent / (1e9 * config.gigabytes))


def main(config: Scale) -> str:
    """Writes table.md and scale.json; returns the table.

    Raises:
        ValueError: unknown game in `only`.
    """
    by_name = games()
    if unknown := set(config.only) - set(by_name):
        raise ValueError(f"`only` must name games of {list(by_name)}, got {sorted(unknown)}")
    selected = {name: game for name, game in by_name.items() if not config.only or name in config.only}
    measured = [m for name, game in selected.items() for m in measure(name, game, config)]
    head = ("game", "play", "parameters", "multiply-adds, 1e9", "collectives", "MB", *(f"E({n})" for n in CHIPS))
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for m in measured:
        cells = (
            m.game, m.play, f"{m.parameters:,}", f"{m.multiply_adds:,.0f}", f"{m.collectives} {', '.join(m.kinds)}",
            f"{m.megabytes:.1f}", *(f"{m.efficiency[n]:.3f}" for n in CHIPS),
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "scale.json").write_text(json.dumps([asdict(m) for m in measured], indent=1) + "\n", encoding="utf-8")
    (config.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "\n".join(lines)


if __name__ == "__main__":
    chosen = parse(Scale, __doc__, "experiments.benchmarks.scale")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    print(main(chosen))
