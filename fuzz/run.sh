#!/bin/sh
# Fuzzes every target, or the named ones, two at a time, each for SECONDS (300), and reports the results. An
# input that made a target fail is in fuzz/artifacts; once that is mended, it belongs into fuzz/seeds.
#
#     fuzz/run.sh [--keep] [SECONDS [TARGET...]]
#
# It begins with fuzz/seeds and fuzz/corpus. With --keep, inputs that reach more code than those are added
# to fuzz/corpus, as few as it takes. Needs a C++ compiler for libFuzzer.
#
# Outside of CI, AddressSanitizer watches too. It is for what dependencies do without the compiler's checks,
# as nothing of ours is unsafe, and takes CI more time than it has. In CI the order of inputs is the same
# each time too: whether a commit passes depends on the commit.
set -eu
cd "$(dirname "$0")/.."
programs=fuzz/target/$(uname -m)-unknown-linux-gnu/release
# Inputs that an earlier run has found.
found=fuzz/target/corpus

build() {
    # What cargo-fuzz sets. Sanitizers need a dynamic program: RUSTFLAGS replaces the flags for a static one.
    RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
-Cllvm-args=-simplifycfg-branch-fold-threshold=0"
    if [ "${CI:-}" != true ]; then
        RUSTFLAGS="$RUSTFLAGS -Zsanitizer=address"
        # Only nightly compilers take the sanitizer's option; this lets a stable one take it too.
        export RUSTC_BOOTSTRAP=1
    fi
    export RUSTFLAGS LIBCAPNG_LINK_TYPE=dylib
    cargo build --release --locked --manifest-path fuzz/Cargo.toml --target-dir fuzz/target
}

# Fuzzes the target $2 for $1 seconds.
one() {
    log=$(mktemp)
    # Trees of files are made in memory, if there is such a place.
    [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
    mkdir -p "$found/$2" "fuzz/corpus/$2" "fuzz/artifacts/$2"
    crashes=0
    seed=0
    [ "${CI:-}" != true ] || seed=1
    # A parser that takes 10 s or 1 GiB for a few KiB is as bad as one that crashes.
    "$programs/$2" -max_total_time="$1" -seed="$seed" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$2/" "$found/$2" "fuzz/corpus/$2" "fuzz/seeds/$2" \
        >"$log" 2>&1 || crashes=1
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    {
        printf '%-14s %8s %12s %9s %8s\n' "$2" "$1" "${runs:--}" "${coverage:--}" "$crashes"
        if [ "$crashes" -ne 0 ]; then
            grep -E '^(SUMMARY|artifact_prefix|thread|==.*ERROR)|panicked at|Test unit written' "$log" ||
                tail -n 20 "$log"
        fi
    } >"$log.said"
    # In one piece, beside that of another target.
    cat "$log.said"
    rm -f "$log" "$log.said"
    return "$crashes"
}

# Adds to the corpus of the target $1 what reaches code that nothing else there reaches. How often it is
# reached does not count, or the corpus would be ten times as large.
keep() {
    merged=$(mktemp -d)
    cp "fuzz/seeds/$1"/* "$merged"
    "$programs/$1" -merge=1 -set_cover_merge=1 -use_counters=0 -max_len=4096 \
        "$merged" "fuzz/corpus/$1" "$found/$1" 2>/dev/null
    for seed in "fuzz/seeds/$1"/*; do
        rm -f "$merged/$(basename "$seed")"
    done
    rm -rf "fuzz/corpus/$1"
    mkdir -p "fuzz/corpus/$1"
    find "$merged" -type f -exec mv -t "fuzz/corpus/$1" {} +
    rmdir "$merged"
    # The seeds of a small parser may reach all of it.
    rmdir --ignore-fail-on-non-empty "fuzz/corpus/$1"
}

if [ "${1:-}" = --one ]; then
    one "$2" "$3"
    exit
fi
keep=
if [ "${1:-}" = --keep ]; then
    keep=1
    shift
fi
seconds=${1:-300}
[ $# -eq 0 ] || shift
# shellcheck disable=SC2046 # names, each of one word
[ $# -gt 0 ] || set -- $(basename -s .rs fuzz/fuzz_targets/*.rs)
build
printf '%-14s %8s %12s %9s %8s\n' target seconds runs coverage crashes
printf '%s\n' "$@" | xargs -P 2 -I{} fuzz/run.sh --one "$seconds" {}
for target in ${keep:+"$@"}; do
    keep "$target"
done
