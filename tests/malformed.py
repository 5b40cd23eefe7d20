"""What malformed input may get: a sentence of this package, or an answer, and never an error from inside of a library.

Tests of malformed input draw it by hypothesis, the same every time: `@malformed` or `@malformed_of(50)`.
"""

import linecache
import traceback

import hypothesis
import jax

OURS = ("jaxgen", "experiments")
LONGEST = 600
"""Characters of a sentence."""


def examples(number):
    """Hypothesis' settings: so many examples, the same every time, nothing written."""
    return hypothesis.settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def outcome(call):
    """`(result, None)` of a call, or `(None, sentence)` where it was refused.

    A sentence is the message of a ValueError, TypeError or OSError that a `raise` of this package raised, of one or two
    lines. Whatever else is raised fails the test.
    """
    # JAX takes its own frames out of tracebacks: its errors would look like ours
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", "off")
    try:
        return call(), None
    except Exception as error:
        frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
        module, said = frame.f_globals["__name__"], str(error)
        statement = linecache.getline(frame.f_code.co_filename, line).strip()
        ours = module.split(".")[0] in OURS and statement.startswith("raise")
        ours = ours and isinstance(error, (ValueError, TypeError, OSError))
        if not ours or len(said) > LONGEST or said.count("\n") > 1 or not said.strip():
            raise AssertionError(f"{module} said {type(error).__name__}: {said[:LONGEST]}") from error
        return None, said
    finally:
        jax.config.update("jax_traceback_filtering", before)


def refused(call, *named):
    """The sentence that a call is refused with, in which all of `named` stand."""
    result, said = outcome(call)
    assert said is not None, f"accepted, and answered {result!r}"
    assert all(name in said for name in named), f"{named} should stand in: {said}"
    return said
