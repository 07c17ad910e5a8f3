#!/bin/bash
# Builds the release binary of the last commit twice, at places and under names that differ, and
# compares them. It needs a few minutes, and the disk space of two builds.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "$0")")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The places have different lengths: padding could hide a path in places of the same length.
for place in "$work/one" "$work/another place/deeper"; do
    mkdir -p "$place/source"
    git -C "$root" archive HEAD | tar -x -C "$place/source"
    CARGO_TARGET_DIR=$place/target "$place/source/setup/release.sh" --quiet --package bcvk
    sha256sum "$place/target/$(uname -m)-unknown-linux-gnu/release/bcvk"
done | tee "$work/sums"

if [ "$(cut -d' ' -f1 "$work/sums" | sort -u | wc -l)" -ne 1 ]; then
    echo 'the two builds differ (compare them with diffoscope)' >&2
    exit 1
fi
echo 'the two builds are the same'
