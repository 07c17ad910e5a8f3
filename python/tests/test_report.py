"""Reports of failed tests, as pytest prints them."""

from __future__ import annotations

import re
import subprocess

import pytest

FAILING = """
def test_that_fails(vm):
    vm.execute("systemd-run --quiet --wait --unit broken.service sh -c 'echo last words; exit 1'")
    vm.succeed("echo to stdout; echo to stderr >&2; exit 7")

def test_that_passes(vm):
    assert vm.failed_units() == []
"""


NAMES = ("image", "options", "program", "fresh")


def inner(pytester: pytest.Pytester, request: pytest.FixtureRequest, *args: str) -> pytest.RunResult:
    """Runs pytest on the file that was made, with the options of the tests at hand."""
    option = request.config.getoption
    given = [f"--bcvk-{name}={option(f'--bcvk-{name}')}" for name in NAMES]
    return pytester.runpytest_subprocess("-p", "pytest_bcvk.plugin", *given, *args)


def test_a_report_tells_of_the_vm_which_stays(
    pytester: pytest.Pytester, request: pytest.FixtureRequest
) -> None:
    pytester.makepyfile(FAILING)
    result = inner(pytester, request, "--bcvk-keep")
    kept = re.search(r"bcvk ephemeral ssh (\S+)", result.stdout.str())
    assert kept, "the report does not say how to enter the VM"
    name = kept[1]
    bcvk = [request.config.getoption("--bcvk-program"), "ephemeral"]
    try:
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(
            [
                "*exit code 7*",
                "*to stdout*",
                "*to stderr*",
                f"*console of {name}*",
                f"*failed units of {name}*",
                "broken.service",
                f"*journal since the test began of {name}*",
                "*last words*",
                f"*{name} is kept*",
            ]
        )
        entered = subprocess.run(
            [*bcvk, "ssh", name, "systemctl is-failed broken.service"], capture_output=True, text=True
        )
        assert entered.stdout == "failed\n"
    finally:
        subprocess.run([*bcvk, "rm", "-f", name], check=True, capture_output=True)


def test_an_image_that_cannot_boot_is_named_in_one_place(
    pytester: pytest.Pytester, request: pytest.FixtureRequest
) -> None:
    pytester.makepyfile("def test(vm): pass")
    result = inner(pytester, request, "--bcvk-image=localhost/none", "--bcvk-options=--pull never")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*image localhost/none does not exist here*", "hint: *"])
    result.stdout.no_fnmatch_line("*During handling*")


def test_without_an_image_the_option_is_named(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test(vm): pass")
    result = pytester.runpytest_subprocess("-p", "pytest_bcvk.plugin")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*give --bcvk-image*"])
