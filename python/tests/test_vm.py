"""The VM of a test: commands, waiting, files, ports. All tests share one VM."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from pytest_bcvk import BcvkError, CommandFailed, TimedOut, Vm

ECHO = "systemd-socket-activate --listen=8080 --accept --inetd cat"


def test_commands(vm: Vm) -> None:
    assert vm.succeed("echo one", "echo two >&2; echo three") == "one\nthree\n"
    assert vm.fail("echo no; exit 3") == "no\n"
    result = vm.execute("echo out; echo err >&2; exit 4")
    assert (result.returncode, result.stdout, result.stderr) == (4, "out\n", "err\n")
    with pytest.raises(CommandFailed, match="(?s)exit code 5.*stdout\nwhy"):
        vm.succeed("echo why; exit 5")
    with pytest.raises(CommandFailed, match="exit code 0"):
        vm.fail("true")
    with pytest.raises(TimedOut, match="took longer than 3 s"):
        vm.execute("sleep 60", timeout=3)


def test_waiting(vm: Vm) -> None:
    vm.succeed("systemd-run --quiet sh -c 'sleep 2; touch /run/late'")
    vm.fail("test -e /run/late")
    vm.wait_for_file("/run/late", 60)
    vm.succeed("systemd-run --quiet sh -c 'sleep 2; rm /run/late'")
    vm.wait_until_fails("test -e /run/late", 60)
    assert vm.wait_until_succeeds("date", 60)
    with pytest.raises(TimedOut, match="(?s)after 2 s.*`false` ended with exit code 1"):
        vm.wait_until_succeeds("false", 2)


def test_units(vm: Vm) -> None:
    vm.wait_for_unit("multi-user.target")
    assert vm.systemctl("is-active", "multi-user.target") == "active\n"
    assert vm.failed_units() == []
    began = time.time()
    vm.execute("systemd-run --quiet --wait --unit broken.service sh -c 'echo words; exit 1'")
    assert vm.failed_units() == ["broken.service"]
    with pytest.raises(BcvkError, match="broken.service"):
        vm.wait_for_unit("broken.service")
    assert "words" in vm.journal("--unit", "broken.service", since=began - 1)
    assert "words" not in vm.journal(since=time.time() + 60)
    vm.succeed("echo written here > /dev/console")
    vm.wait_for_console_text(r"written (here|there)", 60)
    with pytest.raises(TimedOut, match="nothing on the console of"):
        vm.wait_for_console_text("never written", 1)
    assert len(vm.console(3).splitlines()) == 3


def test_files(vm: Vm, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("hello\n")
    vm.copy_to(tmp_path / "in", "/tmp/greeting")
    vm.succeed("tr a-z A-Z </tmp/greeting >/tmp/answer")
    vm.copy_from("/tmp/answer", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "HELLO\n"


def test_ports(vm: Vm) -> None:
    vm.wait_for_closed_port(8080, 10)
    with pytest.raises(TimedOut, match="nothing listens on port 8080"):
        vm.wait_for_port(8080, 1)
    vm.succeed(f"systemd-run --quiet --unit echo.service {ECHO}")
    vm.wait_for_port(8080, 60)
    with vm.forward(8080) as port, socket.create_connection(("127.0.0.1", port), 60) as client:
        client.sendall(b"there and back\n")
        assert client.makefile().readline() == "there and back\n"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 60)
    vm.systemctl("stop", "echo.service")
    vm.wait_for_closed_port(8080, 60)


def test_inspect(vm: Vm) -> None:
    assert vm.inspect()["Name"] == vm.name
