#!/bin/bash
# Builds target/packages/*.deb and *.rpm of what `make install` installs.
#
#   setup/packages.sh [--tools] deb|rpm...
#
# With --tools, only what cargo needs for it is installed. BCVK_BIN names a program to package
# instead of a release, which is built otherwise.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "$0")")")
stage=$root/target/stage
out=$root/target/packages

# The versions that have been tried.
declare -A tools=([deb]=cargo-deb@3.8.0 [rpm]=cargo-generate-rpm@0.21.1)

only_tools=
if [ "${1:-}" = --tools ]; then
    only_tools=1
    shift
fi
for kind in "$@"; do
    tool=${tools[$kind]:-}
    if [ -z "$tool" ]; then
        echo "usage: ${0##*/} [--tools] deb|rpm..." >&2
        exit 2
    fi
    if ! command -v "${tool%@*}" >/dev/null; then
        echo "packages: installing $tool (a minute or more)"
        cargo install --quiet --locked "$tool"
    fi
done
if [ -n "$only_tools" ]; then exit 0; fi

cd "$root"
rm -rf "$stage"
make --no-print-directory install DESTDIR="$stage" PREFIX=/usr
mkdir -p "$out"
for kind in "$@"; do
    case $kind in
        deb) cargo deb --quiet --package bcvk --no-build --no-strip --output "$out" ;;
        rpm) cargo generate-rpm --package crates/bcvk --output "$out" ;;
    esac
done
