"""VMs that find each other."""

from __future__ import annotations

from pytest_bcvk import Network
from pytest_bcvk.plugin import VmFactory

ECHO = "systemd-socket-activate --listen=8080 --accept --inetd cat"


def test_a_client_reaches_a_server_by_its_name(vm_factory: VmFactory, network: Network) -> None:
    server = vm_factory(network=network)
    client = vm_factory(network=network)
    server.succeed(f"systemd-run --quiet --unit echo.service {ECHO}")
    server.wait_for_port(8080, 60)
    address = f"/dev/tcp/{server.name}/8080"
    said = client.wait_until_succeeds(
        f"bash -c 'exec 3<>{address} && echo there and back >&3 && head -n 1 <&3'", 60
    )
    assert said == "there and back\n"
