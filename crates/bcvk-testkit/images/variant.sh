#!/bin/bash
# Builds one of the small images that error tests need: localhost/bcvk-test:VARIANT.
#
#   variant.sh nokernel|nosystemd|minimal|scratch
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

variant=${1:-}
base=trixie

# One file and no operating system at all: not even a label.
build_scratch() {
    printf 'not an operating system\n' >"$work/readme"
    tar -C "$work" -cf - readme |
        podman import --quiet --change "LABEL bcvk.test.recipe=$1" - "$repository:scratch" >/dev/null
}

# chroot isolation: RUN then needs neither an OCI runtime nor cgroups, and works on machines that
# restrict them. It knows only the host's network, which no RUN here uses.
build_derived() {
    podman build --quiet --isolation chroot --network host --pull=never --layers=false \
        --label "bcvk.test.recipe=$1" --tag "$repository:$variant" \
        --file "$here/Containerfile.$variant" "$work" >/dev/null
}

case $variant in
    scratch)
        recipe=$(digest_of "$variant" "$here/variant.sh")
        builder=build_scratch
        ;;
    nokernel | nosystemd | minimal)
        # Derived images follow their base: its digest is part of theirs.
        base_id=$(podman image inspect --format '{{.Id}}' "$repository:$base" 2>/dev/null) ||
            die "$repository:$variant is made from $repository:$base: build that first"
        recipe=$(digest_of "$variant" "$base_id" "$here/variant.sh" "$here/Containerfile.$variant")
        builder=build_derived
        ;;
    *) die "usage: ${0##*/} nokernel|nosystemd|minimal|scratch" ;;
esac

if is_current "$variant" "$recipe"; then
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$builder" "$recipe"
drop_replaced
say "done in ${SECONDS}s" "$variant"
