#!/bin/bash
# Checks that no dependency needs a newer Rust than Cargo.toml promises. What the code itself uses,
# clippy checks (clippy::incompatible_msrv).
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

ours=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
# A package without a rust-version promises nothing; it is counted so that nobody is misled.
cargo metadata --format-version 1 --locked --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" |
    python3 -c '
import json, sys

def version(text):
    return tuple(int(part) for part in (text.split(".") + ["0", "0"])[:3])

ours = sys.argv[1]
packages = json.load(sys.stdin)["packages"]
newer = [p for p in packages if p["rust_version"] and version(p["rust_version"]) > version(ours)]
for p in newer:
    print("{name} {version} needs Rust {rust_version}".format(**p), file=sys.stderr)
silent = sum(1 for p in packages if not p["rust_version"])
print(f"{len(packages)} packages, {len(newer)} need more than Rust {ours}, {silent} do not say")
sys.exit(bool(newer))
' "$ours"
