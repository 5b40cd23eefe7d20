import os
import subprocess
import sys

import pytest

MEASURE = """
import ctypes, resource, threading
from jaxgen.heap import keep_freed_memory

keep_freed_memory()
libc, size, faults = ctypes.CDLL(None), 2**27, []
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def use():
    for _ in range(3):
        buffer = libc.malloc(size)
        libc.memset(buffer, 1, size)
        libc.free(buffer)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)

thread = threading.Thread(target=use)
thread.start()
thread.join()
print(faults[2] - faults[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_large_buffer_is_mapped_once_whatever_thread_asks_for_it():
    pages = int(subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True).stdout)
    # 2^15 pages of 4 KiB, were they mapped again
    assert pages < 100


EARLY = """
import ctypes, os
import jax, jax.numpy as jnp
from jaxgen.heap import free_memory_early, keep_freed_memory

keep_freed_memory()
free_memory_early()

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def program(x):
    for i in range(40):
        x = jnp.tanh(x * (i + 1.5)) / x.sum(i % 2, keepdims=True) + x[::-1]
    return x

jax.jit(program).lower(jnp.ones((64, 64))).compile()
before = resident()
ctypes.CDLL(None).malloc_trim(0)
product = jax.jit(lambda x: x @ x @ x @ x)
product = product.lower(jnp.ones((1024, 1024))).compile()
print(before - resident(), product(jnp.ones((1024, 1024))).is_ready())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_the_compiler_leaves_no_freed_memory_and_a_call_returns_when_it_has_finished():
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    printed = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, check=True, env=env).stdout
    megabytes, ready = printed.split()
    # 20 to 40 MiB, were they kept
    assert float(megabytes) < 5 and ready == "True"
