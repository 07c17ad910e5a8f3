# Runs inside the new root of a host, after debian-inside.sh: adds a user, who runs bcvk there.
# shellcheck shell=bash
set -euo pipefail

# Debian lets the group kvm alone open /dev/kvm, and nobody by default. The user is not kept
# (loginctl enable-linger) when no session is left.
useradd --create-home --shell /bin/bash --groups kvm tester
usermod --add-subuids 100000-165535 --add-subgids 100000-165535 tester

# Its own timers would run in the middle of a test.
systemctl --quiet disable podman-auto-update.timer 2>/dev/null || true
