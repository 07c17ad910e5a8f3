#!/usr/bin/env python3
"""Ansible inventory: the user's bcvk VMs that are ready, in the group `bcvk`.

    ansible-playbook -i inventory.py playbook.yml
"""

import json
import shlex
import subprocess


def bcvk(*words):
    command = ["bcvk", "ephemeral", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def ssh_options(name):
    """Turns what `ssh-config` says into options of ssh's command line. ssh reads no other file: the
    user's own may forward, send or run something for every host, which is not for a VM."""
    lines = [line.strip() for line in bcvk("ssh-config", name).splitlines()]
    options = [line.split(maxsplit=1) for line in lines if line and not line.startswith("Host ")]
    return shlex.join(["-F", "none", *(f"-o{key}={value}" for key, value in options)])


def inventory():
    # A VM without a key has no `Ssh`.
    vms = [vm for vm in json.loads(bcvk("ps", "--json")) if vm["VmState"] == "ready" and "Ssh" in vm]
    names = [vm["Names"][0] for vm in vms]
    hostvars = {name: {"ansible_ssh_common_args": ssh_options(name)} for name in names}
    return {"bcvk": {"hosts": names}, "_meta": {"hostvars": hostvars}}


# Ansible asks with --list for all hosts; with _meta in the answer, it does not ask for each of them.
print(json.dumps(inventory(), indent=2))
