"""Keeping freed host memory inside the process, for training on a CPU."""

import ctypes
import sys

_ARENA_MAX, _MMAP_THRESHOLD, _TOP_PAD, _TRIM_THRESHOLD = -8, -3, -2, -1


def keep_freed_memory() -> bool:
    """Tells glibc to reuse freed buffers rather than give them back to the kernel.

    XLA allocates a step's buffers afresh each step. By default glibc maps large ones anew every time, and the
    kernel clears them page by page: up to a quarter of a step's time on a CPU. The process then keeps the most
    memory it ever needed, and some more.

    Call before JAX starts its backend: a thread that has allocated before keeps an arena of its own, which
    cannot hold large buffers.

    Returns:
      Whether it took effect; false where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    largest = 2**31 - 1
    settings = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, largest), (_TRIM_THRESHOLD, largest), (_TOP_PAD, 256 * 2**20))
    return all(mallopt(name, value) for name, value in settings)
