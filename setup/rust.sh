# The Rust toolchain and cargo-nextest; sourced by host.sh.
# shellcheck shell=bash disable=SC2154 # here is host.sh's

# Runs a command as the person who builds, to whom the toolchain belongs even with sudo.
as_builder() {
    if [ "$EUID" -eq 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        sudo -H -u "$SUDO_USER" env PATH="$(builder_path)" "$@"
    else
        env PATH="$(builder_path)" "$@"
    fi
}

# rustup's directory is not on the PATH of a shell that was open before it was installed.
builder_path() {
    local home=$HOME
    if [ "$EUID" -eq 0 ] && [ -n "${SUDO_USER:-}" ]; then
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
    fi
    echo "$home/.cargo/bin:$PATH"
}

rust_minimum() {
    sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$here/../Cargo.toml" | head -n 1
}

rust_is_enough() {
    local version
    version=$(as_builder rustc --version 2>/dev/null | cut -d' ' -f2)
    [ -n "$version" ] && dpkg --compare-versions "$version" ge "$(rust_minimum)" &&
        PATH=$(builder_path) command -v cargo >/dev/null
}

# Debian has rustup since 13. Debian 12 has a current compiler for its web browsers, under
# names of its own; other releases may simply be new enough.
install_toolchain() {
    local suffix
    update_lists
    if [ -n "$(candidate_version rustup)" ]; then
        install_packages rustup
        say 'downloading the stable Rust toolchain (rustup)'
        quietly as_builder rustup toolchain install stable --profile minimal --component rustfmt,clippy &&
            quietly as_builder rustup default stable && return
        die 'rustup could not install the stable toolchain (above)'
    fi
    for suffix in -web ''; do
        if dpkg --compare-versions "$(candidate_version "cargo$suffix")" ge "$(rust_minimum)"; then
            case $suffix in
                -web) install_packages cargo-web rustc-web rustfmt-web rust-web-clippy ;;
                *) install_packages cargo rustc rustfmt rust-clippy ;;
            esac
            return
        fi
    done
    die "no Rust $(rust_minimum) or newer in this system's packages: install it with https://rustup.rs and run this again"
}

install_rust() {
    if ! rust_is_enough; then
        if PATH=$(builder_path) command -v rustup >/dev/null; then
            say 'updating Rust (rustup update stable)'
            quietly as_builder rustup update stable || die 'rustup update stable failed'
        else
            install_toolchain
        fi
        rust_is_enough || die "Rust is still older than $(rust_minimum): $(as_builder rustc --version 2>&1)"
    fi
}

install_nextest() {
    if ! PATH=$(builder_path) command -v cargo-nextest >/dev/null; then
        say 'building cargo-nextest (cargo install, some minutes)'
        quietly as_builder cargo install --locked cargo-nextest || die 'cargo install cargo-nextest failed'
    fi
}
