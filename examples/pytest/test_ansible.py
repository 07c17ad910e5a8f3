"""The playbook of examples/ansible, on the same VM."""

import shutil
import subprocess
from pathlib import Path

import pytest

ANSIBLE = Path(__file__).parent.parent / "ansible"


@pytest.mark.skipif(not shutil.which("ansible-playbook"), reason="Ansible is not installed")
def test_the_playbook_finds_nothing_amiss(vm):
    play = ["ansible-playbook", "-i", ANSIBLE / "inventory.py", "--limit", vm.name]
    done = subprocess.run(
        [*play, ANSIBLE / "playbook.yml"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{vm.name} : ok=2 " in " ".join(done.stdout.split()), done.stdout
