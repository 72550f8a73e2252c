# SPDX-License-Identifier: Apache-2.0
"""Stops one thread of a process while its other threads run on, as a debugger does (ptrace(2))."""

import ctypes
import os
from contextlib import contextmanager

# Waits for any kind of child, threads of others among them (waitpid(2)).
WALL = 0x40000000
PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, thread):
    if _libc.ptrace(request, thread, None, None) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace {request:#x} of thread {thread}: {os.strerror(error)}")


@contextmanager
def frozen(thread):
    """`thread` (its kernel id; the main thread has that of the process) does nothing within the block. If the test dies,
    the kernel lets it go on."""
    _ptrace(PTRACE_SEIZE, thread)
    try:
        _ptrace(PTRACE_INTERRUPT, thread)
        _, status = os.waitpid(thread, WALL)
        assert os.WIFSTOPPED(status), f"thread {thread} did not stop: status {status:#x}"
        yield
    finally:
        _ptrace(PTRACE_DETACH, thread)
