"""Let builds go first where we only read: an old site is still serving."""

from __future__ import annotations

import os

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_THIS_THREAD = 1
_IDLE_CLASS = 3 << 13


def read_when_idle() -> None:
    """Give this thread, and those that it starts, the disk only when nobody else wants it.

    Schedulers without priorities take no notice, and neither does this on other processors.
    Source: linux include/uapi/linux/ioprio.h and ioprio_set(2); libc has no function for it.
    """
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is None:
        return
    import ctypes  # noqa: PLC0415 - agents that write do without

    ctypes.CDLL(None).syscall(number, _THIS_THREAD, 0, _IDLE_CLASS)
