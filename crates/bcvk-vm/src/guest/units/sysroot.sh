#!/bin/sh
# Runs in the initramfs once the image is mounted, read-only, at /sysroot. Afterwards /etc, /var,
# /root and /tmp are writable and volatile, and /run holds the units for the real root.
# $1 is "copy" or "overlay": how /var gets its content.
set -eu

root=/sysroot
volatile=/run/bcvk/volatile

# Otherwise what is mounted over a directory also lands on the binds of it below.
mount --make-private "$root"

# Its own file system: /run has a limit of a fifth of the memory.
mkdir -p "$volatile"
mount -t tmpfs -o mode=0755,size=100% bcvk-volatile "$volatile"

# The lower directory is bound elsewhere first: kernels before 6.x hang on an overlay that is
# mounted over its own lower directory.
overlay() {
    name=$1 mode=$2
    mkdir -p "$volatile/$name/lower" "$volatile/$name/work"
    mkdir -m "$mode" "$volatile/$name/upper"
    mount --bind "$root/$name" "$volatile/$name/lower"
    mount -t overlay \
        -o "lowerdir=$volatile/$name/lower,upperdir=$volatile/$name/upper,workdir=$volatile/$name/work,index=off,metacopy=off" \
        "bcvk-$name" "$root/$name"
}

have_overlay() {
    while read -r first second; do
        [ "$first" = overlay ] || [ "$second" = overlay ] && return 0
    done </proc/filesystems
    return 1
}
# Loaded already, unless the image has no list of its modules.
have_overlay || modprobe overlay

overlay etc 0755

if [ "$1" = copy ]; then
    # A real tmpfs, so that container storage, itself an overlay, works in it.
    mkdir -p "$volatile/var-lower"
    mount --bind "$root/var" "$volatile/var-lower"
    mount -t tmpfs -o mode=0755,size=100% bcvk-var "$root/var"
    cp -a "$volatile/var-lower/." "$root/var/"
    umount "$volatile/var-lower"
else
    overlay var 0755
    if [ -d "$root/var/lib" ]; then
        mkdir -p "$root/var/lib/containers"
        mount -t tmpfs -o mode=0755,size=100% bcvk-containers "$root/var/lib/containers"
    fi
fi

# What /root leads to: in /var it is writable already, but may not exist yet.
if [ -e /usr/lib/bcvk/home ]; then
    read -r home </usr/lib/bcvk/home
    case $home in
        /var/* | /etc/*) mkdir -p -m 0700 "$root$home" ;;
        *) overlay "${home#/}" 0700 ;;
    esac
fi

# systemd before 256 does not mount a tmpfs on /tmp by default everywhere, and on a read-only root
# every service with a private /dev or /tmp needs it.
if [ -d "$root/tmp" ] && [ ! -L "$root/tmp" ]; then
    mount -t tmpfs -o mode=1777,nosuid,nodev,size=50% tmpfs "$root/tmp"
fi

cp -a /usr/lib/bcvk/run/. /run/
if [ -d /usr/lib/bcvk/etc ]; then
    cp -a /usr/lib/bcvk/etc/. "$root/etc/"
fi
# NetworkManager takes no profile that others could read.
if [ -d /run/NetworkManager ]; then
    chmod 0600 /run/NetworkManager/system-connections/*
fi
if [ -e /usr/lib/bcvk/environment ]; then
    cat /usr/lib/bcvk/environment >>"$root/etc/environment"
fi

. /usr/lib/bcvk/port
tell initrd || true
