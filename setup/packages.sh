#!/bin/bash
# Builds target/packages/*.deb and *.rpm of what `make install` installs.
#
#   setup/packages.sh [--tools] deb|rpm...
#
# With --tools, it only installs the tools that cargo needs for that. BCVK_BIN names a program to
# package; without it, a release is built.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "$0")")")
stage=$root/target/stage
out=$root/target/packages

# These versions have been tried.
declare -A tools=([deb]=cargo-deb@3.8.0 [rpm]=cargo-generate-rpm@0.21.1)
sbom_tool=cargo-cyclonedx@0.5.9

only_tools=
if [ "${1:-}" = --tools ]; then
    only_tools=1
    shift
fi

install_tool() { # NAME@VERSION
    if ! command -v "${1%@*}" >/dev/null; then
        echo "packages: installing $1 (a minute or more)"
        cargo install --quiet --locked "$1"
    fi
}

# Writes a list of the crates that the program is made of. It is the same wherever it is made, without
# times, random numbers, and the machine's paths.
write_sbom() { # FILE
    local work
    work=$(mktemp -d)
    # The tool writes beside each Cargo.toml of the workspace, so it gets a copy.
    cp -r Cargo.toml Cargo.lock .cargo bench crates tests torture xtask "$work"
    # With SOURCE_DATE_EPOCH, there is no serial number.
    (cd "$work" && SOURCE_DATE_EPOCH=0 cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps \
        --target "$(uname -m)-unknown-linux-gnu" --override-filename sbom)
    sed -e '/^ *"timestamp":/d' -e "s,path+file://$work/,path+file:///bcvk/,g" "$work/crates/bcvk/sbom.json" >"$1"
    rm -rf "$work"
}

for kind in "$@"; do
    tool=${tools[$kind]:-}
    if [ -z "$tool" ]; then
        echo "usage: ${0##*/} [--tools] deb|rpm..." >&2
        exit 2
    fi
    install_tool "$tool"
done
install_tool "$sbom_tool"
if [ -n "$only_tools" ]; then exit 0; fi

cd "$root"
rm -rf "$stage"
make --no-print-directory install DESTDIR="$stage" PREFIX=/usr
write_sbom "$stage/usr/share/doc/bcvk/bcvk.cdx.json"
mkdir -p "$out"
for kind in "$@"; do
    case $kind in
        deb) cargo deb --quiet --package bcvk --no-build --no-strip --output "$out" ;;
        rpm) cargo generate-rpm --package crates/bcvk --output "$out" ;;
    esac
done
