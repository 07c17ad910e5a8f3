#!/bin/sh
# Fuzzes every target, or the named ones, each for SECONDS (300), and reports the results.
# An input that made a target fail is in fuzz/artifacts; once that is mended, it belongs into
# fuzz/seeds.
#
#     fuzz/run.sh [SECONDS [TARGET...]]
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-300}
[ $# -eq 0 ] || shift
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
# Sanitizers need a dynamic program: cargo-fuzz sets RUSTFLAGS, which replaces the flags for a static one.
export LIBCAPNG_LINK_TYPE=dylib
# Only nightly compilers take the sanitizer's options; this lets a stable one take them too.
export RUSTC_BOOTSTRAP=1
# shellcheck disable=SC2046 # names, each of one word
[ $# -gt 0 ] || set -- $(cargo fuzz list)

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
printf '%-14s %8s %12s %9s %8s\n' target seconds runs coverage crashes
for target; do
    mkdir -p "fuzz/corpus/$target"
    crashes=0
    # A parser that takes 10 s or 1 GiB for a few KiB is as bad as one that crashes.
    cargo fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        >"$log" 2>&1 || crashes=1
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%-14s %8s %12s %9s %8s\n' "$target" "$seconds" "${runs:--}" "${coverage:--}" "$crashes"
    if [ "$crashes" -ne 0 ]; then
        failed=1
        grep -E '^(SUMMARY|artifact_prefix|thread|==.*ERROR)|panicked at|Test unit written' "$log" ||
            tail -n 20 "$log"
    fi
done
exit "$failed"
