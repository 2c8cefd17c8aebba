"""Freed memory that stays with the process, so that large tensors are not mapped, zeroed and unmapped again at every layer."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_TRIM, _MMAP = -1, -3
"""glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD."""
_LARGEST = 32 << 20
"""The most that glibc takes from its heap instead of mapping it."""
_KEPT = 1 << 30


@cache
def keep_freed_memory() -> bool:
    """Let glibc reuse freed blocks of up to 32 MiB; whether it does so now.

    By default each tensor of some megabytes is mapped afresh and costs a page fault every 4 KiB, which takes as long as an activation
    function does. Up to 1 GiB of freed memory then stays with the process. Settings of the user's (MALLOC_*, GLIBC_TUNABLES) are kept, and
    other allocators and systems are left alone.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 -- another C library may have a mallopt that does nothing
        return bool(libc.mallopt(_MMAP, _LARGEST) and libc.mallopt(_TRIM, _KEPT))
    except (AttributeError, OSError):
        return False
