#!/bin/bash
# Installs a .deb in a Debian with nothing else in it, looks at it there, and removes it again.
#
#   clean-root.sh DEB RESULTS
#
# It writes to the directory RESULTS: version; doctor.json; files, a list of those in the package; and
# left, a list of those that are still there, or have bcvk's name, once it is removed.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
# shellcheck source-path=SCRIPTDIR source=../crates/bcvk-testkit/images/lib.sh
. "$here/../crates/bcvk-testkit/images/lib.sh"
deb=$(readlink -f "$1")
results=$(readlink -f "$2")

# mmdebstrap does not read the host's apt configuration, so it is passed on, as for the test images.
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
# doctor's trial container must not meet those of the host, nor leave mounts. If doctor finds a
# problem, that is no failure.
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
