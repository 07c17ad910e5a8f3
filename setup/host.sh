#!/bin/bash
# Installs what a Debian-like machine lacks for building bcvk and running its tests.
#
#   setup/host.sh [--to-run | --rootless-user]
#
# It needs root, directly or through sudo. It is safe to run again: it then changes nothing.
# --to-run leaves out what only tests need, which takes minutes to build.
# --rootless-user also makes the user that the rootless tests run as.
set -euo pipefail
# Every failure below explains itself; the trap is for those that nobody thought of.
trap 'echo "setup: stopped unexpectedly at ${BASH_SOURCE[0]}:$LINENO: $BASH_COMMAND" >&2' ERR
set -E

here=$(dirname "$(readlink -f "$0")")
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"
# shellcheck source-path=SCRIPTDIR source=restricted.sh
. "$here/restricted.sh"
# shellcheck source-path=SCRIPTDIR source=rust.sh
. "$here/rust.sh"
# shellcheck source-path=SCRIPTDIR source=rootless.sh
. "$here/rootless.sh"

packages=(
    # These are for running bcvk.
    podman netavark aardvark-dns iptables nftables uidmap slirp4netns fuse-overlayfs openssh-client
    # These are for building it as a static program, whose virtiofs server drops capabilities with
    # libcap-ng.
    gcc libc6-dev make pkg-config libcap-ng-dev ca-certificates
    # These are for building test images.
    mmdebstrap debian-archive-keyring
    # These are for tests: of the file system on a disk for /var; of podman's Pods; of completion in
    # other shells than bash; of manual pages; of what the guide asks of a VM's web server; of JSON
    # against its schemas; of pytest-bcvk, its wheel and the examples; and at a terminal whose screen
    # can be looked at; and of parsers, with libFuzzer, which is C++.
    e2fsprogs catatonit rsync zsh fish man-db curl python3-jsonschema
    python3-pytest python3-pytest-xdist python3-pip python3-setuptools python3-wheel ansible-core tmux g++
)

case $(uname -m) in
    x86_64) qemu='qemu-system-x86' ;;
    aarch64) qemu='qemu-system-arm' ;;
    *) die "no QEMU package is known here for $(uname -m)" ;;
esac

# Before this version, QEMU's emulated processor corrupts cmpxchg16b, and 6.12 guests panic in
# early boot. 7.2 is known to be bad, 10.0 to be good; Debian has packaged nothing bad since 8.0.
qemu_minimum=1:8.0

install_common() {
    local status name missing=()
    # There is one query for all, because a run that finds everything in place should take no time.
    status=$(dpkg-query -W -f '${db:Status-Status} ${binary:Package}\n' "${packages[@]}" 2>/dev/null || true)
    for name in "${packages[@]}"; do
        grep -q "^installed $name\(:.*\)\?\$" <<<"$status" || missing+=("$name")
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    update_lists
    install_packages "${missing[@]}"
}

# podman 5 moved rootless networking from slirp4netns to pasta.
install_pasta() {
    local podman
    podman=$(installed_version podman)
    if dpkg --compare-versions "$podman" ge 5 && [ -z "$(installed_version passt)" ]; then
        update_lists
        install_packages passt
    fi
}

install_qemu() {
    local have
    have=$(installed_version "$qemu")
    # qemu-img makes disks (--mount-disk-file); both come from one release.
    if [ -n "$have" ] && dpkg --compare-versions "$have" ge "$qemu_minimum" &&
        [ -n "$(installed_version qemu-utils)" ]; then return; fi

    update_lists
    local codename candidate
    candidate=$(candidate_version "$qemu")
    if [ -n "$candidate" ] && dpkg --compare-versions "$candidate" ge "$qemu_minimum"; then
        install_packages "$qemu" qemu-utils
        return
    fi

    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    if ! (. /etc/os-release && [ "$ID" = debian ]); then
        die "this system's QEMU (${candidate:-none}) is too old: install QEMU ${qemu_minimum#*:} or newer"
    fi
    if [ -z "$(apt-cache policy | grep -F "n=$codename-backports" || true)" ]; then
        enable_backports "$codename" "${candidate:-none}"
    fi
    say "installing $qemu from $codename-backports"
    apt_get install --no-install-recommends --target-release "$codename-backports" "$qemu" qemu-utils ||
        die "apt-get could not install $qemu from $codename-backports"
}

enable_backports() { # codename qemu-version-without-it
    local mirror
    # The mirror is one of the machine's own sources, so a machine with a local mirror never reaches
    # past it.
    # shellcheck disable=SC2016 # apt's format, not the shell's
    mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's/^Debian|Debian|//p' | head -n 1)
    say "adding $1-backports to the apt sources: QEMU $2 cannot run current kernels without KVM"
    write_file /etc/apt/sources.list.d/bcvk-backports.sources <<EOF
Types: deb
URIs: ${mirror:-http://deb.debian.org/debian}
Suites: $1-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
    apt_get update || die "could not read the package list of $1-backports"
}

rootless_user='' tests=1
case ${1:-} in
    '') ;;
    --to-run) tests='' ;;
    --rootless-user) rootless_user=1 ;;
    *) die "usage: ${0##*/} [--to-run | --rootless-user]" ;;
esac

if ! command -v apt-get >/dev/null; then
    die "not a Debian-like system. Install these yourself (names as in Debian): ${packages[*]} $qemu qemu-utils, and Rust"
fi
if [ "$EUID" -ne 0 ] && ! command -v sudo >/dev/null; then
    die 'run this as root, or install sudo'
fi

install_runc_where_needed
install_common
install_pasta
install_qemu
configure_podman
install_rust
if [ -n "$tests" ]; then install_nextest; fi
if [ -n "$rootless_user" ]; then make_rootless_user; fi

if [ "$actions" -eq 0 ]; then
    echo 'setup: everything is in place'
else
    echo 'setup: done'
fi
