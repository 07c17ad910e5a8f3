#!/bin/bash
# Bootstraps a Debian suite into a bootc-like test image: localhost/bcvk-test:TAG.
#
#   debian.sh trixie|bookworm|testing|full|host-trixie|host-testing
#
# testing is the newest that Debian has and that is known to install (unstable is not, every day);
# full is trixie with what tests derive odd images from; host-SUITE is one that bcvk runs in.
#
# Distribution packages are the only source, so that tests need no container
# registry. A second run with an unchanged recipe only compares a label.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

tag=${1:-}
case $tag in
    trixie | bookworm | testing) suite=$tag ;;
    full) suite=trixie ;;
    host-trixie | host-testing) suite=${tag#host-} ;;
    *) die "usage: ${0##*/} trixie|bookworm|testing|full|host-trixie|host-testing" ;;
esac

packages=(
    systemd systemd-sysv systemd-resolved udev dbus kmod
    linux-image-cloud-amd64 dracut zstd
    openssh-server iproute2 procps
)
if [ "$tag" = full ]; then
    packages+=(podman network-manager cloud-init systemd-ukify systemd-boot-efi cpio
        nftables chrony dbus-broker selinux-policy-default greetd rsync
        openssl openssl-provider-fips)
fi
hooks=("$here/debian-inside.sh")
case $tag in
    host-*)
        packages+=(podman crun passt netavark aardvark-dns nftables uidmap slirp4netns
            fuse-overlayfs catatonit qemu-system-x86 openssh-client
            libpam-systemd dbus-user-session sudo)
        hooks+=("$here/host-inside.sh")
        ;;
esac
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

recipe=$(digest_of "$tag" "$here/debian.sh" "${hooks[@]}")
if is_current "$tag" "$recipe"; then
    exit 0
fi

# Debian's keyring carries each release's keys in files of their own too: without the one for this
# release, mmdebstrap would fail with a bare GPG error. testing is signed with the releases' keys.
if [ "$suite" != testing ] &&
    ! compgen -G "/usr/share/keyrings/debian-archive-$suite-*" >/dev/null; then
    die "the Debian keyring on this machine is too old for $suite:" \
        "install a newer debian-archive-keyring (bookworm-updates has one)"
fi

say "building from Debian packages of $suite (about a minute)" "$tag"

# mmdebstrap does not read the host's apt configuration, and its proxy may be there.
if [ -z "${http_proxy:-}" ]; then
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
    if [ -n "${http_proxy:-}" ]; then export http_proxy; fi
fi
# Nor may a mirror that was frozen on purpose be too old for it: testing's lists expire in a week.
eval "$(apt-config shell check_valid_until Acquire::Check-Valid-Until)"

customize=()
for hook in "${hooks[@]}"; do
    customize+=(--customize-hook="chroot \"\$1\" /bin/bash -s $suite <'$hook'")
done

log=$(mktemp)
made=$(mktemp)
trap 'rm -f "$log" "$made"' EXIT

# dracut's kernel hook would make a second initramfs in /boot that nobody boots; a stub, since
# dracut's own package script calls it by name.
mmdebstrap --variant=minbase --keyring="$keyring" \
    --aptopt="Acquire::Check-Valid-Until \"${check_valid_until:-true}\"" \
    --include="$(IFS=,; echo "${packages[*]}")" \
    --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/etc/kernel/postinst.d/dracut' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --setup-hook="printf '#!/bin/sh\n' | install -D -m 0755 /dev/stdin \"\$1/etc/kernel/postinst.d/dracut\"" \
    "${customize[@]}" \
    "$suite" - "$(debian_mirror)" 2>"$log" |
    podman import --quiet \
        --change 'LABEL containers.bootc=1' \
        --change "LABEL bcvk.test.recipe=$recipe" \
        --change 'CMD ["/sbin/init"]' \
        --change 'STOPSIGNAL SIGRTMIN+3' \
        - >"$made" || {
    tail -n 30 "$log" >&2
    # What was bootstrapped so far is an image too, and must not pass for this one.
    drop_replaced
    die "bootstrapping $suite failed; the end of mmdebstrap's output is above"
}
podman tag "$(cat "$made")" "$repository:$tag"
drop_replaced
say "done in ${SECONDS}s" "$tag"
