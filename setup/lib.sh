# Shared by the set-up scripts; sourced, never run.
# shellcheck shell=bash

actions=0

say() {
    printf 'setup: %s\n' "$*"
    actions=$((actions + 1))
}

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$EUID" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# quietly COMMAND...: runs the command, and shows its output only if it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" </dev/null >"$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then tail -n 20 "$log" >&2; fi
    rm -f "$log"
    return "$status"
}

# Debian's packages ask questions and start services unless told not to; a build needs neither.
apt_get() {
    local status=0 policy=/usr/sbin/policy-rc.d own_policy=
    if [ ! -e "$policy" ]; then
        own_policy=1
        printf '#!/bin/sh\nexit 101\n' | as_root install -m 0755 /dev/stdin "$policy"
    fi
    quietly as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get --yes --quiet -o DPkg::Lock::Timeout=120 "$@" || status=$?
    if [ -n "$own_policy" ]; then as_root rm -f "$policy"; fi
    return "$status"
}

# Updates apt's lists once per run. A failure is not fatal: one broken third-party source must not
# stop the rest.
lists_updated=
update_lists() {
    [ -z "$lists_updated" ] || return 0
    say 'reading package lists (apt-get update)'
    apt_get update || say 'apt-get update reported errors (above); going on with what it got'
    lists_updated=1
}

install_packages() {
    say "installing $*"
    apt_get install --no-install-recommends "$@" || die "apt-get could not install: $*"
}

installed_version() { # package
    { dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null || true; } | sed -n 's/^installed //p'
}

candidate_version() { # package
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n -e '/(none)/d' -e 's/^  Candidate: //p'
}

# write_file PATH: writes stdin to the file, if it differs; returns 1 without a word if it does not.
write_file() {
    local content
    content=$(cat)
    [ "$content" != "$(cat "$1" 2>/dev/null)" ] || return 1
    as_root mkdir -p "$(dirname "$1")"
    printf '%s\n' "$content" | as_root tee "$1" >/dev/null
}
