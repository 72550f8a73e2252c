# SPDX-License-Identifier: Apache-2.0
"""Which BPF objects the kernel holds, asked by bpf(2): bpftool is not everywhere."""

import ctypes
import errno
import os
import platform
import struct

SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
BPF_PROG_GET_NEXT_ID = 11  # enum bpf_cmd, linux/bpf.h
BPF_LINK_GET_NEXT_ID = 31
BPF_LINK_GET_FD_BY_ID = 30
BPF_LINK_DETACH = 34

_libc = ctypes.CDLL(None, use_errno=True)


def _ids(command):
    found, last = set(), 0
    while True:
        attributes = ctypes.create_string_buffer(struct.pack("=III", last, 0, 0))  # start_id, next_id, open_flags
        if _libc.syscall(SYS_BPF, command, attributes, 12) != 0:
            if ctypes.get_errno() == errno.ENOENT:
                return found
            raise OSError(ctypes.get_errno(), "bpf")
        last = struct.unpack("=III", attributes.raw[:12])[1]
        found.add(last)


def program_ids():
    return _ids(BPF_PROG_GET_NEXT_ID)


def link_ids():
    return _ids(BPF_LINK_GET_NEXT_ID)


def detach_link(number):
    """Takes what a link has attached off its interface, as `bpftool link detach` does; its process goes on holding it."""
    fd = _libc.syscall(SYS_BPF, BPF_LINK_GET_FD_BY_ID, ctypes.create_string_buffer(struct.pack("=I8x", number)), 12)
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"link {number}")
    try:
        if _libc.syscall(SYS_BPF, BPF_LINK_DETACH, ctypes.create_string_buffer(struct.pack("=I", fd)), 4) != 0:
            raise OSError(ctypes.get_errno(), f"detach link {number}")
    finally:
        os.close(fd)
