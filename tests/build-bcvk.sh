#!/bin/sh
# nextest runs this once before the black-box tests; see .config/nextest.toml.
set -eu
# Tests share snapshots, but not with those of another run: `Sandbox::snapshot_cache`.
rm -rf "target/$(uname -m)-unknown-linux-gnu/debug/test-cache"
[ -z "${BCVK_BIN:-}" ] || exit 0
exec cargo build --quiet --package bcvk
