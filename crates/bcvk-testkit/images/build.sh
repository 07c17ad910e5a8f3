#!/bin/bash
# Makes the test images that are missing or out of date.
#
#   build.sh [all | trixie | bookworm | testing | full | nokernel | nosystemd | minimal | scratch]...
#   build.sh host-trixie host-testing makes hosts for `make test-hosts`, which are not among all
#   build.sh --for-user USER TAG...   copies images into USER's rootless storage
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

build_one() {
    case $1 in
        trixie | bookworm | testing | full | host-trixie | host-testing) "$here/debian.sh" "$1" ;;
        nokernel | nosystemd | minimal)
            "$here/debian.sh" trixie
            "$here/variant.sh" "$1"
            ;;
        scratch) "$here/variant.sh" "$1" ;;
        all)
            local tag
            for tag in trixie bookworm testing full nokernel nosystemd minimal scratch; do build_one "$tag"; done
            ;;
        *) die "no such test image: $1" ;;
    esac
}

# Rootless podman sees only its own user's storage; building there again would take minutes.
copy_for_user() { # user tag
    local runtime_dir home have want
    runtime_dir=/run/user/$(id -u "$1")
    home=$(getent passwd "$1" | cut -d: -f6)
    # A login would make it; this user has none.
    [ -d "$runtime_dir" ] || install -d -m 0700 -o "$1" -g "$1" "$runtime_dir"
    local as_user=(env -C / XDG_RUNTIME_DIR="$runtime_dir" HOME="$home")
    want=$(podman image inspect --format '{{.Id}}' "$repository:$2")
    have=$(runuser -u "$1" -- "${as_user[@]}" podman image inspect --format '{{.Id}}' "$repository:$2" 2>/dev/null || true)
    [ "$have" = "$want" ] && return
    podman save --quiet "$repository:$2" |
        runuser -u "$1" -- "${as_user[@]}" podman load --quiet >/dev/null
    say "copied for $1 in ${SECONDS}s" "$2"
}

if [ "${1:-}" = --for-user ]; then
    user=$2
    shift 2
    for tag in "$@"; do copy_for_user "$user" "$tag"; done
    exit 0
fi

if [ $# -eq 0 ]; then set -- all; fi
for tag in "$@"; do build_one "$tag"; done
