# Sourced by bcvk's scripts. `tell WORD…` says a line to the host, over the control port: the first
# port of the only virtio-serial device. udev's name for it comes late in the boot and not at all
# in some initramfs, the kernel's own is there as soon as the driver is.
tell() {
    for port in /dev/vport*p1; do
        [ -e "$port" ] && echo "$@" >"$port"
        return 0
    done
}
