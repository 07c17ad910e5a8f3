"""Each test begins with the machine that `bcvk_setup` has made. The tests run in this order."""

from __future__ import annotations

from typing import Callable

import pytest

from pytest_bcvk import Vm


@pytest.fixture(scope="session")
def bcvk_setup() -> Callable[[Vm], None]:
    def setup(vm: Vm) -> None:
        vm.succeed("echo setup > /etc/setup")

    return setup


@pytest.mark.parametrize("number", range(3))
def test_nothing_of_another_test_is_left(vm: Vm, number: int) -> None:
    assert vm.succeed("cat /etc/setup") == "setup\n"
    vm.succeed(
        "test ! -e /etc/trace", f"echo {number} > /etc/trace", "systemd-run --quiet --unit trace sleep 1h"
    )


def test_a_process_of_another_test_has_ended(vm: Vm) -> None:
    vm.fail("systemctl is-active trace.service")


def test_a_test_takes_its_own_way_back(vm: Vm) -> None:
    vm.succeed("echo halfway > /etc/halfway")
    half = vm.checkpoint()
    vm.succeed("rm /etc/halfway /etc/setup")
    vm.reset(half)
    assert vm.succeed("cat /etc/halfway /etc/setup") == "halfway\nsetup\n"


def test_the_way_back_of_the_next_test_is_the_setup(vm: Vm) -> None:
    vm.succeed("test -e /etc/setup", "test ! -e /etc/halfway")
