"""Memory that is freed, on a CPU: kept where it is asked for again, else returned."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8  # of glibc's malloc.h
_LONG_COMPILATION = 0.1  # seconds; shorter ones leave little


def keep_freed_memory() -> None:
    """Lets the process reuse large buffers, in place of returning them to the system; for programs, early in `main`.

    XLA's CPU client allocates a program's temporaries at each call. By default glibc maps large ones afresh, and the
    system zeroes every page when it is first touched: 10 to 20 % of a convolutional step's processor time. The
    process's memory then stays at its peak. Does nothing where the C library is not glibc.
    """
    mallopt = _function("mallopt")
    if mallopt is None:
        return
    # all threads allocate from one heap, which neither maps large blocks apart nor shrinks
    for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 2**26)):
        mallopt(option, value)


def free_memory_early() -> None:
    """Lowers the peak memory of JAX on a CPU; for programs, before JAX first uses a device.

    A call returns when it has finished. Otherwise the next one may begin before the temporaries of the last are freed:
    it takes as much memory again, which `keep_freed_memory` keeps. Programs over several devices are not affected.
    And what the compiler has freed, hundreds of MiB in small blocks, is returned to the system before the program runs.
    """
    import jax  # not in processes that do without

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    trim = _function("malloc_trim")
    if trim is None:
        return

    def compiled(event: str, seconds: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration" and seconds > _LONG_COMPILATION:
            trim(0)

    jax.monitoring.register_event_duration_secs_listener(compiled)


def _function(name: str) -> Any:
    """A function of glibc; None where the C library is another."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
