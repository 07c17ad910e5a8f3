"""A network of podman's, on which VMs find each other by name."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from .process import DEFAULT_TIMEOUT, run


class Network:
    """A network of podman's for VMs and containers."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    @contextmanager
    def create(cls) -> Iterator[Network]:
        """Makes a network with a name of its own, and removes it at the end.

        Raises `RuntimeError` with podman's words if podman cannot do that.
        """
        network = cls(f"bcvk-test-{uuid.uuid4().hex[:12]}")
        podman("create", network.name)
        try:
            yield network
        finally:
            podman("rm", "--force", network.name)


def podman(*args: str) -> None:
    """Runs `podman network ARGS`."""
    done = run(["podman", "network", *args], DEFAULT_TIMEOUT)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
