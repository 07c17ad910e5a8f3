# Settings that podman needs on machines that restrict it (CI sandboxes, containers); sourced by
# host.sh.
# shellcheck shell=bash

# crun refuses a cgroup v1 hierarchy with a v2 one mounted inside it.
has_hybrid_cgroups() {
    [ "$(stat -f -c %T /sys/fs/cgroup 2>/dev/null)" != cgroup2fs ] &&
        grep -q '^cgroup2 /sys/fs/cgroup/' /proc/mounts
}

# Without CAP_SYS_RESOURCE nobody can raise a hard limit, and podman's defaults are above these.
has_low_limits() {
    local bounding nofile nproc podman_default=1048576
    bounding=$(sed -n 's/^CapBnd:\s*//p' /proc/self/status)
    if ((0x$bounding >> 24 & 1)); then return 1; fi
    nofile=$(ulimit -Hn) nproc=$(ulimit -Hu)
    { [ "$nofile" != unlimited ] && [ "$nofile" -lt "$podman_default" ]; } ||
        { [ "$nproc" != unlimited ] && [ "$nproc" -lt "$podman_default" ]; }
}

# at_most HARD WANTED: users' own hard limits may be lower than root's, so ask for little.
at_most() {
    if [ "$1" = unlimited ] || [ "$1" -gt "$2" ]; then echo "$2"; else echo "$1"; fi
}

# Runs before podman is installed, so that its dependency on "crun or runc" is met by the one that
# works.
install_runc_where_needed() {
    if has_hybrid_cgroups && [ -z "$(installed_version runc)" ]; then
        update_lists
        install_packages runc
    fi
}

# Writes a drop-in under /etc, so that rootless users get it too and nobody's own file is touched.
configure_podman() {
    local file=/etc/containers/containers.conf.d/50-bcvk-restricted-host.conf
    local reasons=() text=()
    if has_low_limits; then
        reasons+=('the hard limits cannot be raised here')
        text+=('[containers]'
            "default_ulimits = [\"nofile=$(at_most "$(ulimit -Hn)" 20000):$(at_most "$(ulimit -Hn)" 20000)\", \
\"nproc=$(at_most "$(ulimit -Hu)" 32768):$(at_most "$(ulimit -Hu)" 32768)\"]")
    fi
    if has_hybrid_cgroups; then
        reasons+=('crun does not run with hybrid cgroups')
        text+=('[engine]' 'runtime = "runc"')
    fi
    if [ ${#reasons[@]} -eq 0 ]; then return; fi
    if { echo '# Written by bcvk: setup/host.sh, for a machine that restricts containers.'
        printf '%s\n' "${text[@]}"; } | write_file "$file"; then
        say "wrote $file: $(printf '%s; ' "${reasons[@]}" | sed 's/; $//')"
    fi
}
