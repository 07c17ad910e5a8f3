#!/bin/bash
# Builds the release binary, the same one wherever it is built.
#
#   setup/release.sh [CARGO OPTIONS]
#
# Panic messages and what is left of debug information name source files. Where these lie differs
# from machine to machine, so they get names that do not.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "$0")")")
cargo_home=$(readlink -f "${CARGO_HOME:-$HOME/.cargo}")

# Words of a path may have spaces; cargo splits this variable, unlike RUSTFLAGS, at 0x1f alone.
flags=${CARGO_ENCODED_RUSTFLAGS:-${RUSTFLAGS:+${RUSTFLAGS// /$'\x1f'}}}
flags+=${flags:+$'\x1f'}--remap-path-prefix=$root=/bcvk
flags+=$'\x1f'--remap-path-prefix=$cargo_home=/cargo
export CARGO_ENCODED_RUSTFLAGS=$flags

cd "$root"
exec cargo build --release --locked "$@"
