"""What is shown of the VMs of a failed test."""

from __future__ import annotations

from typing import Callable

from .bcvk import BcvkError
from .process import TimedOut
from .vm import CommandFailed, Vm

TIMEOUT = 30.0
"""Seconds that a VM may take to answer one question: it may hang."""

CONSOLE_LINES = 40

EARLIER = 1.0
"""Seconds before the test began from which on the journal is shown: the VM's clock is not the host's."""


def sections(vm: Vm, keep: bool) -> list[tuple[str, str]]:
    """Returns titles and texts for a report: the last lines of the console, the failed units, the
    journal since the test began, and how to enter a VM that stays."""
    questions: dict[str, Callable[[], str]] = {
        "console": lambda: vm.console(CONSOLE_LINES, TIMEOUT),
        "failed units": lambda: "\n".join(vm.failed_units(TIMEOUT)),
        "journal since the test began": lambda: vm.journal(since=vm.since - EARLIER, timeout=TIMEOUT),
    }
    found = [(f"{title} of {vm.name}", answer(ask)) for title, ask in questions.items()]
    if keep:
        found.append((f"{vm.name} is kept", entry(vm.name)))
    return found


def answer(ask: Callable[[], str]) -> str:
    """Returns the answer, or why there is none: a report is made of what there is."""
    try:
        return ask().rstrip() or "(nothing)"
    except (BcvkError, CommandFailed, TimedOut) as error:
        return f"({error})"


def entry(name: str) -> str:
    """Returns the commands that enter and remove a VM."""
    return f"bcvk ephemeral ssh {name}\nbcvk ephemeral rm -f {name}"
