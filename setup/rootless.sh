# The user that rootless tests run as; sourced by host.sh.
# shellcheck shell=bash

# Makes a user without a login: tests become it with runuser, and give it a runtime directory.
make_rootless_user() {
    local user=bcvk-rootless
    if ! getent passwd "$user" >/dev/null; then
        say "adding the user $user for rootless tests"
        as_root useradd --create-home --shell /usr/sbin/nologin "$user"
    fi
    if ! grep -q "^$user:" /etc/subuid || ! grep -q "^$user:" /etc/subgid; then
        give_subordinate_ids "$user"
    fi
    prefer_overlay "$user"
    open_device_to_users /dev/net/tun 'slirp4netns makes rootless networks with it'
    open_device_to_users /dev/fuse 'fuse-overlayfs and guests need it'
}

# Gives a user subordinate IDs, as useradd does unless login.defs or the distribution says not to.
give_subordinate_ids() { # user
    local start
    start=$(cat /etc/subuid /etc/subgid 2>/dev/null |
        awk -F: '{ end = $2 + $3; if (end > max) max = end } END { print (max > 100000) ? max : 100000 }')
    say "giving $1 subordinate user and group IDs from $start"
    as_root usermod --add-subuids "$start-$((start + 65535))" --add-subgids "$start-$((start + 65535))" "$1"
}

# Makes podman use overlays. Debian 12's podman would give this user the vfs driver, which copies the
# whole image at each start. Kernels since 5.13 let users mount overlays.
prefer_overlay() { # user
    local home
    home=$(getent passwd "$1" | cut -d: -f6)
    as_root test ! -e "$home/.config/containers/storage.conf" || return 0
    say "choosing overlay storage for $1"
    # The user makes the directories, and so owns those on the way too.
    as_root runuser -u "$1" -- mkdir -p "$home/.config/containers"
    printf '[storage]\ndriver = "overlay"\n' |
        as_root runuser -u "$1" -- tee "$home/.config/containers/storage.conf" >/dev/null
}

# Opens a device to all users, as udev does; machines without udev keep the kernel's mode, which is for
# root only.
open_device_to_users() { # device why
    [ -c "$1" ] || return 0
    case $(stat -c %a "$1") in
        666) ;;
        *)
            say "opening $1 to users: $2"
            as_root chmod 0666 "$1"
            ;;
    esac
}
