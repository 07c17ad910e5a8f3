"""Programs of the host, which a test never waits for without end."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

DEFAULT_TIMEOUT = 900.0
"""Seconds that a command may take, or that something is waited for, unless a test says otherwise."""


class TimedOut(AssertionError):
    """Something took longer than it may."""


def run(command: Sequence[str], timeout: float | None) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, with nothing on its standard input. Bytes that are no UTF-8 are
    replaced in what it says.

    Raises `TimedOut` after `timeout` seconds; the program is killed then.
    """
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise TimedOut(f"`{' '.join(command)}` took longer than {timeout:g} s") from None
