"""Compiling is what tests cost: the compiler takes its short cuts, and one cache serves the whole suite."""

import ctypes
import gc
import os
import sys
import threading
from pathlib import Path

import pytest

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault(
    "XLA_FLAGS",
    # the older emitters of fusions compile in two thirds of the time; most programs are too small to share out
    "--xla_backend_optimization_level=0 --xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters=true"
    " --xla_cpu_parallel_codegen_split_count=1",
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads spin while they wait

MOST_MEMORY = 1.5 * 2**30

gc.set_threshold(50_000, 20, 20)  # tracing makes many objects and few cycles


contexts = threading.local()


def pytest_collection_finish():
    """What is imported stays: the collector need not look at it again after every module."""
    _share_contexts()
    gc.collect()
    gc.freeze()


def _share_contexts():
    """JAX lowers each program in an MLIR context of its own, which costs more than lowering a small one.

    The programs of a test module share one. Where JAX has no such function, tests are slower and the same.
    """
    try:
        from jax._src.interpreters import mlir

        make = mlir.make_ir_context
    except (ImportError, AttributeError):
        return

    def shared():
        if not hasattr(contexts, "mlir"):
            contexts.mlir = make()
        return contexts.mlir

    mlir.make_ir_context = shared


@pytest.fixture(scope="module", autouse=True)
def _release_compiled_programs():
    """JAX keeps every compiled program: the memory of a worker would grow with the number of tests."""
    yield
    vars(contexts).clear()
    if _resident_memory() < MOST_MEMORY:
        return
    import jax

    jax.clear_caches()
    gc.collect()
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another C library
            pass


def _resident_memory():
    """Bytes, infinitely many where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return float("inf")
