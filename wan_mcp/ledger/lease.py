"""Who is working on a request: a holder's mark, which the next process can tell from one that a dead process
left."""

import functools
import os
import platform
import secrets
import sys

LEASE = 300.0
"""Seconds after which a mark no longer counts; longer than any submission can take."""


@functools.cache
def _nonce(pid: int) -> str:
    return secrets.token_hex(8)


def own_mark() -> str:
    """The mark of this process: machine, process id, and a nonce, since process ids are used again."""
    return f"{platform.node()}|{os.getpid()}|{_nonce(os.getpid())}"


def is_alive(holder: str | None, held_until: float | None, now: float) -> bool:
    """Whether the holder of a mark may still be at work."""
    if holder is None or held_until is None or now > held_until:
        return False
    node, pid, _ = holder.rsplit("|", 2)
    if node != platform.node():
        return True
    if int(pid) == os.getpid():
        return holder == own_mark()
    return _runs(int(pid))


def _runs(pid: int) -> bool:
    if sys.platform == "win32":  # a signal would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
