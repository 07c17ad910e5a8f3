"""Tests in a VM: the fixture `vm` boots an image once, and nothing is left of it at the end."""

import json
import os
import shlex
import subprocess

import pytest


def pytest_addoption(parser):
    group = parser.getgroup("bcvk")
    group.addoption(
        "--image",
        default=os.environ.get("IMAGE"),
        help="bootc image to boot (default: $IMAGE)",
    )
    group.addoption(
        "--bcvk-options",
        default="",
        help="more options of `bcvk ephemeral run`, such as '--memory 2G --warm auto'",
    )


class Vm:
    """A VM that answers SSH. ssh and scp take all they need from its configuration file."""

    def __init__(self, name, ssh_config):
        self.name = name
        self.ssh_config = ssh_config

    def run(self, command, check=True):
        """Runs a shell command as root. Its output is in `stdout` and `stderr` of the result."""
        ssh = ["ssh", "-F", self.ssh_config, self.name, "--", command]
        return subprocess.run(
            ssh, check=check, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    def copy_to(self, source, target):
        """Copies a file or directory of the host into the VM."""
        self._scp(source, f"{self.name}:{target}")

    def copy_from(self, source, target):
        """Copies a file or directory of the VM to the host."""
        self._scp(f"{self.name}:{source}", target)

    def _scp(self, source, target):
        subprocess.run(["scp", "-q", "-r", "-F", self.ssh_config, source, target], check=True)


@pytest.fixture(scope="session")
def vm(request):
    image = request.config.getoption("--image")
    if not image:
        pytest.fail("give an image: --image localhost/mybootc")
    options = shlex.split(request.config.getoption("--bcvk-options"))
    # bcvk stays with its VM: when it is told to end, or Ctrl-C reaches both, it removes the VM.
    bcvk = subprocess.Popen(
        ["bcvk", "-q", "ephemeral", "run", "--rm", "--output", "json", *options, image],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with bcvk:
        try:
            yield await_ready(bcvk.stdout)
        finally:
            bcvk.terminate()


def await_ready(lines):
    """Reads bcvk's events, one JSON object a line, until the VM can be used."""
    for event in map(json.loads, lines):
        if event["Event"] == "Started":
            name = event["Name"]
        elif event["Event"] == "Ready":
            return Vm(name, event["SshConfig"])
        elif event["Event"] == "Failed":
            why = [event["Message"], *event["Causes"], *event["FailedUnits"]]
            why += [f"hint: {event['Hint']}"] if event["Hint"] else []
            pytest.fail("\n".join(why + event["ConsoleTail"]), pytrace=False)
    pytest.fail("bcvk ended before its VM was ready", pytrace=False)
