#!/bin/bash
# Installs a .deb in a Debian with nothing else in it, looks at it there, and removes it again.
#
#   clean-root.sh DEB RESULTS
#
# In the directory RESULTS: version, doctor.json, files (of the package), left (of them, or by their
# name, once it is removed).
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
# shellcheck source-path=SCRIPTDIR source=../crates/bcvk-testkit/images/lib.sh
. "$here/../crates/bcvk-testkit/images/lib.sh"
deb=$(readlink -f "$1")
results=$(readlink -f "$2")

# As for the test images: mmdebstrap does not read the host's apt configuration.
if [ -z "${http_proxy:-}" ]; then
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
    if [ -n "${http_proxy:-}" ]; then export http_proxy; fi
fi
eval "$(apt-config shell check_valid_until Acquire::Check-Valid-Until)"

look=$(mktemp)
trap 'rm -f "$look"' EXIT
cat >"$look" <<'EOF'
set -eu
root=$1
inside() { chroot "$root" "$@"; }
cp "$deb" "$root/bcvk.deb"
inside apt-get install --yes --quiet=2 --no-install-recommends /bcvk.deb
inside bcvk --version >"$results/version"
# Its trial container shall not meet those of the host, nor leave mounts. That it finds something is
# no failure.
unshare --net --mount chroot "$root" bcvk doctor --json >"$results/doctor.json" || true
inside dpkg -L bcvk >"$results/files"
inside dpkg --remove bcvk
inside find /usr /etc /var/lib /var/cache -xdev -name '*bcvk*' -not -path '/var/lib/dpkg/info/*' >"$results/left"
EOF
export deb results

mmdebstrap --quiet --variant=apt --format=null \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --aptopt="Acquire::Check-Valid-Until \"${check_valid_until:-true}\"" \
    --dpkgopt=force-unsafe-io \
    --customize-hook="sh '$look' \"\$1\"" \
    bookworm /dev/null "$(debian_mirror)"
