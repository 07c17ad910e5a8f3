#!/bin/bash
# Says which of nextest's profiles CI has time for: `ci`, or `ci-slow` if emulated VMs take so long that
# all tests would not be done within its 90 minutes (.config/nextest.toml).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

# Limit for the seconds from the command line to its end. Up to twenty are usual, and all tests then
# take half an hour.
slow=28

cargo build --quiet --package bcvk
began=$SECONDS
"target/$(uname -m)-unknown-linux-gnu/debug/bcvk" ephemeral run-ssh --quiet localhost/bcvk-test:trixie true >&2
took=$((SECONDS - began))
if [ "$took" -gt "$slow" ]; then
    echo "pace: a VM took $took s here: CI leaves out what the profile ci-slow lists" >&2
    echo ci-slow
else
    echo ci
fi
