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
