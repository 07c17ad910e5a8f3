"""A VM, as a test uses it."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from .process import DEFAULT_TIMEOUT, TimedOut, run

if TYPE_CHECKING:
    from .bcvk import Bcvk

PAUSE = 0.2
"""Seconds between two looks at something that is waited for."""

LISTENS = "0A"
"""State of a socket that listens, in `/proc/net/tcp` (Linux, include/net/tcp_states.h)."""


@dataclass(frozen=True)
class Result:
    """The end of a command in a VM."""

    command: str
    returncode: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        parts = [f"`{self.command}` ended with exit code {self.returncode}"]
        for name, text in (("stdout", self.stdout), ("stderr", self.stderr)):
            if text.strip():
                parts.append(f"--- {name}\n{text.rstrip()}")
        return "\n".join(parts)


class CommandFailed(AssertionError):
    """A command in a VM ended otherwise than the test expects."""

    def __init__(self, result: Result) -> None:
        super().__init__(str(result))
        self.result = result


class Vm:
    """A running VM. Commands run as root, in a shell; everything that waits has a limit in seconds."""

    def __init__(self, name: str, bcvk: Bcvk) -> None:
        self.name = name
        """Name of the VM for `bcvk ephemeral` and podman, and its host name."""
        self.keep = False
        """True if the VM is to outlive the tests; has an effect with `--bcvk-keep` only."""
        self.since = time.time()
        """Time from which on a report shows the journal, in seconds since the Unix epoch."""
        self._bcvk = bcvk
        self._dir = tempfile.TemporaryDirectory(prefix="bcvk-")
        self._master: subprocess.Popen[bytes] | None = None

    # Commands

    def execute(self, command: str, timeout: float | None = DEFAULT_TIMEOUT) -> Result:
        """Runs a shell command, and returns how it ended, whatever that is."""
        __tracebackhide__ = True
        ssh = ["ssh", *self._ssh_options(), self.name, "--", command]
        done = run(ssh, timeout)
        return Result(command, done.returncode, done.stdout, done.stderr)

    def succeed(self, *commands: str, timeout: float | None = DEFAULT_TIMEOUT) -> str:
        """Runs commands one after the other, and returns what they print on standard output.

        Raises `CommandFailed` at the first that fails.
        """
        __tracebackhide__ = True
        return "".join(self._expect(command, True, timeout).stdout for command in commands)

    def fail(self, *commands: str, timeout: float | None = DEFAULT_TIMEOUT) -> str:
        """Runs commands each of which has to fail, and returns what they print on standard output.

        Raises `CommandFailed` at the first that succeeds, or that was not run to its end.
        """
        __tracebackhide__ = True
        return "".join(self._expect(command, False, timeout).stdout for command in commands)

    def _expect(self, command: str, success: bool, timeout: float | None) -> Result:
        __tracebackhide__ = True
        result = self.execute(command, timeout)
        # 255 is ssh's own: the connection was lost, or there was none.
        if (result.returncode == 0) != success or result.returncode == 255:
            raise CommandFailed(result)
        return result

    # Waiting

    def wait_until_succeeds(self, command: str, timeout: float = DEFAULT_TIMEOUT) -> str:
        """Runs a command until it succeeds, and returns what it prints then."""
        __tracebackhide__ = True
        return self._repeat(command, lambda result: result.returncode == 0, timeout)

    def wait_until_fails(self, command: str, timeout: float = DEFAULT_TIMEOUT) -> str:
        """Runs a command until it fails, and returns what it prints then."""
        __tracebackhide__ = True
        return self._repeat(command, lambda result: result.returncode not in (0, 255), timeout)

    def _repeat(self, command: str, done: Callable[[Result], bool], timeout: float) -> str:
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        last = f"`{command}` has not ended once"
        while (left := deadline - time.monotonic()) > 0:
            try:
                result = self.execute(command, left)
            except TimedOut:
                break
            if done(result):
                return result.stdout
            last = str(result)
            time.sleep(PAUSE)
        raise TimedOut(f"after {timeout:g} s, {last}")

    def wait_for_unit(self, unit: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Waits until a unit of systemd's is active.

        Raises `BcvkError` at once if it has failed, is masked or does not exist, and in the end if it
        is not active in time.
        """
        limit = f"{max(int(timeout), 1)}s"
        self._bcvk.call("wait", "--for", f"unit={unit}", "--timeout", limit, self.name)

    def wait_for_file(self, path: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Waits until there is a file, a directory or anything else at `path`."""
        __tracebackhide__ = True
        self.wait_until_succeeds(f"test -e {shlex.quote(path)}", timeout)

    def wait_for_port(self, port: int, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Waits until something listens on a TCP port, whatever the address."""
        __tracebackhide__ = True
        self._await_port(port, True, timeout)

    def wait_for_closed_port(self, port: int, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Waits until nothing listens on a TCP port."""
        __tracebackhide__ = True
        self._await_port(port, False, timeout)

    def _await_port(self, port: int, open_: bool, timeout: float) -> None:
        __tracebackhide__ = True
        state = "nothing listens" if open_ else "something still listens"
        self._await(
            lambda: (port in self.listening_ports()) == open_,
            f"{state} on port {port} of {self.name}",
            timeout,
        )

    @staticmethod
    def _await(done: Callable[[], bool], otherwise: str, timeout: float) -> None:
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() > deadline:
                raise TimedOut(f"after {timeout:g} s, {otherwise}")
            time.sleep(PAUSE)

    def wait_for_console_text(self, pattern: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Waits until the console has, or has had, a text that matches a regular expression."""
        __tracebackhide__ = True
        self._await(
            lambda: re.search(pattern, self.console()) is not None,
            f"nothing on the console of {self.name} matches {pattern!r}",
            timeout,
        )

    def listening_ports(self) -> set[int]:
        """Returns the TCP ports on which something listens."""
        return listening(self.succeed("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || :"))

    # systemd

    def systemctl(self, *args: str) -> str:
        """Runs `systemctl ARGS`, and returns what it prints.

        Raises `CommandFailed` if it fails.
        """
        __tracebackhide__ = True
        return self.succeed("systemctl " + shlex.join(args))

    def failed_units(self, timeout: float = DEFAULT_TIMEOUT) -> list[str]:
        """Returns the names of the units that have failed."""
        __tracebackhide__ = True
        command = "systemctl list-units --failed --plain --no-legend --full"
        lines = self.succeed(command, timeout=timeout)
        return [line.split()[0] for line in lines.splitlines() if line.strip()]

    def journal(self, *args: str, since: float | None = None, timeout: float = DEFAULT_TIMEOUT) -> str:
        """Returns the journal of this boot, as `journalctl ARGS` prints it, from `since` on (seconds
        since the Unix epoch)."""
        __tracebackhide__ = True
        time_args = [] if since is None else ["--since", f"@{since:.6f}"]
        command = ["journalctl", "--boot", "--no-pager", "--quiet", *time_args, *args]
        return self.succeed(shlex.join(command), timeout=timeout)

    def console(self, lines: int | None = None, timeout: float = DEFAULT_TIMEOUT) -> str:
        """Returns what the VM has written on its console, or the last lines of that."""
        tail = "all" if lines is None else str(lines)
        return self._bcvk.call("logs", "--tail", tail, self.name, timeout=timeout)

    # Files and ports

    def copy_to(self, source: str | os.PathLike[str], target: str) -> None:
        """Copies a file or directory of the host into the VM, as `podman cp` does."""
        self._bcvk.call("cp", os.fspath(source), f"{self.name}:{target}")

    def copy_from(self, source: str, target: str | os.PathLike[str]) -> None:
        """Copies a file or directory of the VM to the host, as `podman cp` does."""
        self._bcvk.call("cp", f"{self.name}:{source}", os.fspath(target))

    @contextmanager
    def forward(self, port: int, timeout: float = DEFAULT_TIMEOUT) -> Iterator[int]:
        """Forwards a free port of the host's loopback to a port of the VM's, and yields it."""
        deadline = time.monotonic() + timeout
        while True:
            local = free_port()
            forwarding = f"127.0.0.1:{local}:localhost:{port}"
            options = [*self._ssh_options(), "-S", "none", "-o", "ExitOnForwardFailure=yes"]
            process = self._spawn(["ssh", *options, "-N", "-L", forwarding, self.name])
            try:
                if await_open(local, process, deadline):
                    yield local
                    return
            finally:
                end(process)
            # Another program has taken the port in the meantime.
            if time.monotonic() > deadline:
                raise TimedOut(f"port {port} of {self.name} was not forwarded in {timeout:g} s")

    # Life

    def checkpoint(self, name: str | None = None) -> str:
        """Saves the VM as it is, and returns the name of the checkpoint."""
        self._disconnect()
        return self._bcvk.call("checkpoint", self.name, *([name] if name else [])).strip()

    def reset(self, name: str | None = None) -> None:
        """Takes the VM back to a checkpoint, or to its last one."""
        self._disconnect()
        self._bcvk.call("reset", self.name, *([name] if name else []))
        self.since = time.time()

    def shutdown(self) -> None:
        """Powers the VM off, and waits for that."""
        self._disconnect()
        self._bcvk.call("stop", self.name)

    def inspect(self) -> dict[str, object]:
        """Returns what `bcvk ephemeral inspect` says of the VM."""
        found = json.loads(self._bcvk.call("inspect", self.name))
        first: dict[str, object] = found[0] if isinstance(found, list) else found
        return first

    def close(self) -> None:
        """Ends the connection to the VM; the VM goes on."""
        self._disconnect()
        self._dir.cleanup()

    # The connection

    def _ssh_options(self) -> list[str]:
        """Returns options for ssh. All commands share one connection, which one of ssh's processes
        holds; until it has connected, each makes its own."""
        config = os.path.join(self._dir.name, "ssh_config")
        if not os.path.exists(config):
            with open(config, "w", encoding="utf-8") as file:
                file.write(self._bcvk.call("ssh-config", self.name))
        options = ["-F", config, "-o", "LogLevel=ERROR"]
        shared = ["-S", os.path.join(self._dir.name, "ssh")]
        if self._master is None or self._master.poll() is not None:
            self._master = self._spawn(["ssh", *options, *shared, "-M", "-N", self.name])
        return [*options, *shared]

    def _disconnect(self) -> None:
        if self._master is not None:
            end(self._master)
            self._master = None

    @staticmethod
    def _spawn(command: list[str]) -> subprocess.Popen[bytes]:
        null = subprocess.DEVNULL
        return subprocess.Popen(command, stdin=null, stdout=null, stderr=null)


def listening(tables: str) -> set[int]:
    """Returns the ports of the listening sockets in the text of `/proc/net/tcp` and `tcp6`."""
    rows = (line.split() for line in tables.splitlines())
    sockets = (row for row in rows if len(row) > 3 and row[3] == LISTENS)
    return {int(row[1].rpartition(":")[2], 16) for row in sockets}


def free_port() -> int:
    """Returns a TCP port of the loopback on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_open(port: int, process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Waits until a port accepts connections; returns false if the process ends or it is too late."""
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(PAUSE)
    return False


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process of ours and waits for it."""
    process.terminate()
    process.wait()
