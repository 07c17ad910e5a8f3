"""The pytest plugin: options, fixtures, and what a failed test's report has of its VMs."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Callable, Protocol

import pytest

from .bcvk import Bcvk, BcvkError
from .network import Network
from .report import sections
from .vm import Vm

if TYPE_CHECKING:
    import pluggy

USED: pytest.StashKey[list[Vm]] = pytest.StashKey()
FAILED: pytest.StashKey[bool] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bcvk", "tests in VMs of bcvk")
    group.addoption(
        "--bcvk-image",
        metavar="IMAGE",
        default=os.environ.get("BCVK_IMAGE"),
        help="image that the VMs boot (default: $BCVK_IMAGE)",
    )
    group.addoption(
        "--bcvk-options",
        metavar="OPTIONS",
        default="",
        help="options of `bcvk ephemeral run` for all VMs, such as '--memory 2G --warm auto'",
    )
    group.addoption(
        "--bcvk-program", metavar="FILE", default="bcvk", help="the bcvk to use (default: bcvk)"
    )
    group.addoption(
        "--bcvk-fresh",
        choices=["reset", "boot", "never"],
        default="reset",
        help="how each test gets a clean machine from `vm`: one VM is reset, each boots its own, or "
        "all share one as it is (default: reset)",
    )
    group.addoption(
        "--bcvk-keep",
        action="store_true",
        help="keep the VMs of failed tests, and say how to enter them",
    )


class VmFactory(Protocol):
    """Boots a VM that is removed after the test."""

    def __call__(
        self,
        image: str | None = None,
        *,
        name: str | None = None,
        network: Network | None = None,
        options: list[str] | None = None,
    ) -> Vm: ...


class Shared:
    """The one VM behind the fixture `vm`, which boots when a test first asks for it."""

    def __init__(self, bcvk: Bcvk, setup: Callable[[Vm], None], fresh: str) -> None:
        self._bcvk = bcvk
        self._setup = setup
        self._fresh = fresh
        self._running = ExitStack()
        self._vm: Vm | None = None
        self._beginning: str | None = None

    @contextmanager
    def use(self) -> Iterator[Vm]:
        """Gives the VM to one test."""
        vm = self._vm
        if vm is None:
            vm = self._start()
        elif self._fresh == "reset":
            vm.reset(self._beginning)
        vm.since = time.time()
        yield vm
        if vm.keep or self._fresh == "boot":
            self.close()

    def _start(self) -> Vm:
        vm = self._running.enter_context(self._bcvk.start())
        try:
            self._setup(vm)
            if self._fresh == "reset":
                self._beginning = vm.checkpoint()
        except BaseException:
            self._running.close()
            raise
        self._vm = vm
        return vm

    def close(self) -> None:
        self._vm = None
        self._running.close()


@pytest.fixture(scope="session")
def bcvk(pytestconfig: pytest.Config) -> Bcvk:
    """bcvk with the image and the options of the command line: for fixtures of one's own."""
    option = pytestconfig.getoption
    options = shlex.split(option("--bcvk-options"))
    return Bcvk(option("--bcvk-image"), options, option("--bcvk-program"), option("--bcvk-keep"))


@pytest.fixture(scope="session")
def bcvk_setup() -> Callable[[Vm], None]:
    """Prepares the VM of the fixture `vm`, once, before the state that each test begins with: define
    a fixture of this name that returns a function of the VM."""
    return lambda vm: None


@pytest.fixture(scope="session")
def _bcvk_shared(
    bcvk: Bcvk, bcvk_setup: Callable[[Vm], None], pytestconfig: pytest.Config
) -> Iterator[Shared]:
    shared = Shared(bcvk, bcvk_setup, pytestconfig.getoption("--bcvk-fresh"))
    yield shared
    shared.close()


@pytest.fixture
def vm(_bcvk_shared: Shared, request: pytest.FixtureRequest) -> Iterator[Vm]:
    """A VM of the image, in the state that it was in when it was ready and `bcvk_setup` was done."""
    with told(), _bcvk_shared.use() as vm, watched(request.node, vm):
        yield vm


@pytest.fixture
def vm_factory(bcvk: Bcvk, request: pytest.FixtureRequest) -> Iterator[VmFactory]:
    """Boots further VMs, which are removed after the test."""
    with ExitStack() as stack:

        def start(
            image: str | None = None,
            *,
            name: str | None = None,
            network: Network | None = None,
            options: list[str] | None = None,
        ) -> Vm:
            with told():
                start = bcvk.start(image, name=name, network=network, options=options or [])
                vm = stack.enter_context(start)
            stack.enter_context(watched(request.node, vm))
            return vm

        yield start


@pytest.fixture
def network() -> Iterator[Network]:
    """A network of podman's, on which the VMs of `vm_factory(network=network)` find each other."""
    with Network.create() as network:
        yield network


@contextmanager
def told() -> Iterator[None]:
    """Shows bcvk's words alone where it could not start a VM: they say all that there is to say."""
    try:
        yield
    except BcvkError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@contextmanager
def watched(item: pytest.Item, vm: Vm) -> Iterator[None]:
    """Makes the report of a failed test tell of this VM, and keeps it if that is asked for."""
    vms = item.stash.setdefault(USED, [])
    vms.append(vm)
    yield
    vms.remove(vm)
    if item.stash.get(FAILED, False) and item.config.getoption("--bcvk-keep"):
        vm.keep = True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    outcome = yield
    report = outcome.get_result()
    if not report.failed or report.when == "teardown":
        return
    item.stash[FAILED] = True
    keep = item.config.getoption("--bcvk-keep")
    for vm in item.stash.get(USED, []):
        report.sections += sections(vm, keep)
