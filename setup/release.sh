#!/bin/bash
# Builds the release binary, the same one wherever it is built.
#
#   setup/release.sh [CARGO OPTIONS]
#
# Panic messages and the rest of the debug information name source files. Their paths differ from
# machine to machine, so they are replaced by paths that do not.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "$0")")")
cargo_home=$(readlink -f "${CARGO_HOME:-$HOME/.cargo}")

# Flags in the environment would replace those of .cargo/config.toml, and the program would not be
# static. Flags of --config are added to them, so all flags go that way.
words=${RUSTFLAGS:-}
IFS=$'\x1f' read -r -a flags <<<"${CARGO_ENCODED_RUSTFLAGS:-${words// /$'\x1f'}}"
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
flags+=("--remap-path-prefix=$root=/bcvk" "--remap-path-prefix=$cargo_home=/cargo")

# The flags are written as TOML.
list=
for flag in "${flags[@]}"; do
    [ -n "$flag" ] || continue
    flag=${flag//\\/\\\\}
    list+=\"${flag//\"/\\\"}\",
done

cd "$root"
exec cargo build --release --locked --config "target.'cfg(all())'.rustflags = [$list]" "$@"
