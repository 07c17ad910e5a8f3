#!/bin/sh
# nextest runs this once before the black-box tests; see .config/nextest.toml.
set -eu
[ -z "${BCVK_BIN:-}" ] || exit 0
exec cargo build --quiet --package bcvk
