# Shared by the scripts that build test images; sourced, never run.
# shellcheck shell=bash

repository=localhost/bcvk-test

say() { # message tag
    printf 'bcvk-test:%s: %s\n' "$2" "$1"
}

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# digest_of WORDS AND FILES...: files by content, anything else by its text.
digest_of() {
    local part
    for part in "$@"; do
        if [ -f "$part" ]; then cat "$part"; else printf '%s\n' "$part"; fi
    done | sha256sum | cut -c1-32
}

label_of() { # tag label
    podman image inspect --format "{{index .Labels \"$2\"}}" "$repository:$1" 2>/dev/null || true
}

is_current() { # tag digest
    [ "$(label_of "$1" bcvk.test.recipe)" = "$2" ]
}

# The image that a new build took the name from would otherwise pile up, one per recipe change.
drop_replaced() {
    podman image prune --force --filter label=bcvk.test.recipe >/dev/null 2>&1 || true
}

# The mirror this machine's own apt sources use for Debian proper (not its security
# archive), so that a machine with a local mirror never reaches past it.
debian_mirror() {
    local uri
    # shellcheck disable=SC2016 # apt's format, not the shell's
    uri=$(apt-get indextargets \
        --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's/^Debian|Debian|//p' | head -n 1) || true
    printf '%s\n' "${uri:-http://deb.debian.org/debian}"
}
