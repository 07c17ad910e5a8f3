# Sourced by bcvk's scripts. Ports are those of the only virtio-serial device. udev's names for
# them come late in the boot and not at all in some initramfs, the kernel's own are there as soon
# as the driver is.

# The file of port number $1; nothing if there is none.
port_file() {
    for port in /dev/vport*p"$1"; do
        [ -e "$port" ] && echo "$port"
    done
}

# Waits for port number $1, for two seconds: nothing else may have asked for the driver yet, and
# loading it takes a moment.
await_port() {
    [ -n "$(port_file "$1")" ] && return
    modprobe virtio_console 2>/dev/null
    tries=0
    until [ -n "$(port_file "$1")" ] || [ "$tries" -ge 40 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
}

# `tell WORD…` says a line to the host, over the control port.
tell() {
    for port in /dev/vport*p1; do
        [ -e "$port" ] && echo "$@" >"$port"
        return 0
    done
}
