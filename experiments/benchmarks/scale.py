"""What a step sends between devices, and what that leaves of a pod's speed: `python -m experiments.benchmarks.scale`.

Compiles the steps of Glow and of WGAN-GP at their published sizes for eight devices (virtual ones: nothing is run) and
reads the collectives from the compiled programs, each as often as the loop that it stands in turns. With the
multiplications of a step the efficiency on N chips follows, where all of a gradient is summed by a ring and nothing of
that is hidden behind the arithmetic:

    E(N) = t / (t + 2 (N - 1) / N * S / W),    t = 2 M / F

M multiply-adds of a step on one chip, F its floating-point operations a second, S bytes that are summed, W bytes a second
between neighbours. It is a bound from below: XLA sends the sums of a loop's turn while the next turn is computed.
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
    """That a chip sustains: a third of the peak of today's, in bfloat16."""
    gigabytes: float = 50.0
    """A second, in one direction of the ring that the chips form."""
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
    """One of a compiled program: its kind, the bytes of its results, and how often it is run in a step."""

    kind: str
    bytes: int
    times: int


def collectives(program: str) -> list[Collective]:
    """Those of a compiled program's text."""
    computations: dict[str, list[str]] = {}
    main, lines, found = "", [], []
    for line in program.splitlines():
        if begins := re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line):
            lines = computations.setdefault(begins[2], [])
            main = begins[2] if begins[1] else main
        else:
            lines.append(line)

    def visit(name: str, times: int) -> None:
        for line in computations.get(name, ()):
            if match := re.search(rf"= (.*?) ({'|'.join(KINDS)})(-start)?\(", line):
                found.append(Collective(match[2], size(match[1]), times))
            turns = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
            for called in re.findall(r"(?:body|to_apply|calls|_computation)=%?([\w.\-]+)", line):
                visit(called, times * (int(turns[1]) if turns else 1))

    visit(main, 1)
    return found


def size(shapes: str) -> int:
    """Bytes of arrays as a program's text has them: `(f32[8,2]{1,0}, u8[3])`."""
    return sum(
        BYTES[kind] * math.prod(int(side) for side in sides.split(",") if side)
        for kind, sides in re.findall(r"(\w+)\[([\d,]*)\]", shapes)
    )


def multiply_adds(jaxpr: Any) -> int:
    """Of all matrix products and convolutions of a program, those in a loop as often as it turns."""
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
        turns = equation.params["length"] if equation.primitive.name == "scan" else 1
        total += turns * sum(multiply_adds(part) for part in jax.extend.core.jaxprs_in_params(equation.params))
    return total


@dataclass(frozen=True)
class Measured:
    """A play of a game, for each device.

    Attributes:
        parameters: of the players that it moves.
        multiply_adds: of a step, in billions.
        collectives: how many are run in a step.
        megabytes: that they give in all.
        kinds: what they are.
        efficiency: on so many chips.
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
    """Each play of a game alone, moving at every step."""
    mesh = make_mesh(DEVICES)
    rows = DEVICES * game.batch
    batch = {"x": jax.ShapeDtypeStruct((rows, *game.image), np.uint8, sharding=split(mesh))}
    alone = {"x": jax.ShapeDtypeStruct((game.batch, *game.image), np.uint8)}
    for play, moves in game.model.plays().items():
        plays: dict[str, Play] = {play: moves._replace(when=None)}
        state = jax.eval_shape(lambda b, plays=plays: init_state(game.model, plays, jax.random.key(0), b), alone)
        whole = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=replicated(mesh)), state)
        step = make_train_step(plays)
        found = collectives(jit_step(step, mesh).lower(whole, batch).compile().as_text())
        products = multiply_adds(jax.make_jaxpr(step)(state, alone).jaxpr)
        sent = sum(c.bytes * c.times for c in found)
        yield Measured(
            name, play, sum(leaf.size for player in moves.players for leaf in jax.tree.leaves(state.params[player])),
            products / 1e9, sum(c.times for c in found), sent / 1e6, tuple(sorted({c.kind for c in found})),
            {n: efficiency(n, products, sent, config) for n in CHIPS},
        )  # fmt: skip


def efficiency(chips: int, products: float, sent: float, config: Scale) -> float:
    """The share of a step that is arithmetic, as above."""
    arithmetic = 2 * products / (1e12 * config.teraflops)
    return arithmetic / (arithmetic + 2 * (chips - 1) / chips * sent / (1e9 * config.gigabytes))


def main(config: Scale) -> str:
    """The table as Markdown, which is written beside scale.json.

    Raises:
        ValueError: a game of another name.
    """
    there = games()
    if unknown := set(config.only) - set(there):
        raise ValueError(f"only={sorted(unknown)} was given; the games are {list(there)}")
    measured = [m for name, game in there.items() if not config.only or name in config.only for m in measure(name, game, config)]
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
