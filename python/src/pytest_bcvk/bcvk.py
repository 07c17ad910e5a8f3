"""The program `bcvk`: starts VMs, and says why one did not start."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from .network import Network
from .process import DEFAULT_TIMEOUT, run
from .vm import Vm


class BcvkError(Exception):
    """bcvk did not do what it was asked for. The text is its own."""


class Bcvk:
    """bcvk on this host, with the image and the options that its VMs have."""

    def __init__(
        self,
        image: str | None,
        options: Sequence[str] = (),
        program: str = "bcvk",
        keep: bool = False,
    ) -> None:
        self.image = image
        self.options = list(options)
        self.program = program
        self.keep = keep

    @contextmanager
    def start(
        self,
        image: str | None = None,
        *,
        name: str | None = None,
        network: Network | None = None,
        options: Sequence[str] = (),
    ) -> Iterator[Vm]:
        """Boots a VM, and removes it at the end, also when the test run is interrupted or killed.

        `options` are those of `bcvk ephemeral run`, after the ones that all VMs have. With
        `--bcvk-keep` the VM stays if `Vm.keep` is true at the end.

        Raises `BcvkError` with bcvk's words if the VM does not come up.
        """
        wanted = image or self.image
        if not wanted:
            raise BcvkError("no image to boot: give --bcvk-image, or an image to the fixture")
        all_options = [*self.options, *options]
        if name:
            all_options += ["--name", name]
        if network:
            all_options += ["--network", network.name]
        starter = self._kept if self.keep else self._attached
        with starter(wanted, all_options) as vm:
            try:
                yield vm
            finally:
                vm.close()

    @contextmanager
    def _attached(self, image: str, options: list[str]) -> Iterator[Vm]:
        """Starts a VM that ends with its bcvk, and so with the tests, however these end."""
        with self._run(["--rm", *options, image]) as process:
            try:
                yield self._await(process.stdout, "Ready")
            finally:
                process.terminate()

    @contextmanager
    def _kept(self, image: str, options: list[str]) -> Iterator[Vm]:
        """Starts a VM that outlives the tests if it is to be kept at the end."""
        with self._run(["--detach", *options, image]) as process:
            vm = self._await(process.stdout, "Started")
        try:
            self.call("wait", vm.name)
            yield vm
        finally:
            if not vm.keep:
                self.call("rm", "--force", vm.name)

    def _run(self, args: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.program, "-q", "ephemeral", "run", "--output", "json", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )

    def _await(self, lines: IO[str] | None, awaited: str) -> Vm:
        """Reads the events of a VM, one JSON object a line, until one of this kind."""
        name = ""
        for event in map(json.loads, lines or ()):
            kind = event["Event"]
            if kind == "Started":
                name = event["Name"]
            if kind == "Failed":
                raise BcvkError(failure(event))
            if kind == awaited:
                return Vm(name, self)
        raise BcvkError("bcvk ended before its VM was ready")

    def call(self, *args: str, timeout: float | None = DEFAULT_TIMEOUT) -> str:
        """Runs `bcvk ephemeral ARGS` and returns what it prints.

        Raises `BcvkError` if it fails.
        """
        done = run([self.program, "-q", "ephemeral", *args], timeout)
        if done.returncode != 0:
            raise BcvkError(done.stderr.strip() or f"exit code {done.returncode}")
        return done.stdout


def failure(event: dict[str, Any]) -> str:
    """Returns the text of the event `Failed`."""
    lines = [event["Message"], *event["Causes"], *event["FailedUnits"]]
    if event["Hint"]:
        lines.append(f"hint: {event['Hint']}")
    return "\n".join([*lines, *event["ConsoleTail"]])
