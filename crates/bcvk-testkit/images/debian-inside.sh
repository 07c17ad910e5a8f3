# Runs inside the new root, before it is packed: makes a Debian root look like a bootc image.
# shellcheck shell=bash
set -euo pipefail
suite=$1

# --- Kernel and initramfs where bootc keeps them; /boot stays empty, as in real images.
kver=$(basename /usr/lib/modules/*)
# Newer kernel packages have it there themselves, and a link in /boot.
[ "/boot/vmlinuz-$kver" -ef "/usr/lib/modules/$kver/vmlinuz" ] ||
    mv "/boot/vmlinuz-$kver" "/usr/lib/modules/$kver/vmlinuz"
find /boot /vmlinuz* /initrd.img* -mindepth 0 \( -type f -o -type l \) -delete 2>/dev/null || true
# dracut must not describe the machine that built the image, and virtiofs is what bcvk boots from.
dracut --quiet --force --no-hostonly --no-hostonly-cmdline --zstd \
    --add-drivers 'virtiofs virtio_pci virtio_blk virtio_net virtio_console overlay' \
    --kver "$kver" "/usr/lib/modules/$kver/initramfs.img"

# --- Network: any Ethernet card, by DHCP.
cat >/etc/systemd/network/80-dhcp.network <<'EOF'
[Match]
Type=ether

[Network]
DHCP=yes
EOF
systemctl --quiet enable systemd-networkd.service systemd-resolved.service
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
# A boot without any network would otherwise sit in it for two minutes.
systemctl --quiet disable systemd-networkd-wait-online.service

# Debian's housekeeping: bootc images have none of it, and it would run in the middle of a test.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer; do
    systemctl --quiet disable "$unit" 2>/dev/null || true
done

# What only derived images want to run.
for unit in chrony.service dbus-broker.service greetd.service; do
    systemctl --quiet disable "$unit" 2>/dev/null || true
done

# A host's own name was copied in; real images have none.
rm -f /etc/hostname

# Every guest must get its own keys: shared ones would be worth nothing.
rm -f /etc/ssh/ssh_host_*

# What a deployed host would append to the kernel command line, and what it would not.
mkdir -p /usr/lib/bootc/kargs.d
echo "kargs = [\"bcvk_test.image=$suite\"]" >/usr/lib/bootc/kargs.d/10-test.toml
cat >/usr/lib/bootc/kargs.d/20-test-other-arch.toml <<'EOF'
kargs = ["bcvk_test.wrong_arch=1"]
match-architectures = ["s390x"]
EOF

# mmdebstrap empties /etc/machine-id and leaves it: systemd then makes a transient ID at each
# boot without ConditionFirstBoot= being true. That is what images composed with an empty file
# do; one without the file would run preset-all on its first boot.

# Options that only this build wanted; the exclusions stay, so that derived images stay small.
sed -i '/^force-unsafe-io$/d' /etc/dpkg/dpkg.cfg.d/99mmdebstrap

rm -rf /var/log/* /var/cache/apt/*.bin /var/lib/apt/lists/* /var/cache/ldconfig /var/lib/dpkg/*-old /var/cache/debconf/*-old

# bookworm keeps Debian's own /var and /root: the path for images that ignore bootc's linter.
[ "$suite" != bookworm ] || exit 0

# --- A nearly empty /var. The package database is part of the image, so it lives in /usr;
# the link (and tmpfiles.d, for a machine whose /var starts empty) keeps dpkg and apt working.
mkdir -p /usr/lib/sysimage
mv /var/lib/dpkg /usr/lib/sysimage/dpkg
ln -s ../../usr/lib/sysimage/dpkg /var/lib/dpkg
echo 'admindir=/usr/lib/sysimage/dpkg' >/etc/dpkg/dpkg.cfg.d/50-sysimage
echo 'Dir::State::status "/usr/lib/sysimage/dpkg/status";' >/etc/apt/apt.conf.d/50-sysimage
find /var/lib /var/cache /var/backups -mindepth 1 -maxdepth 1 \
    ! -path /var/lib/dpkg ! -path /var/cache/debconf ! -path /var/cache/apt ! -path /var/lib/apt \
    -exec rm -rf {} +

# --- Top-level directories that hold a machine's state are links into /var.
: >/usr/lib/tmpfiles.d/bootc-layout.conf
for dir in home srv opt mnt; do
    rm -rf "/${dir:?}"
    ln -s "var/$dir" "/$dir"
    mkdir -p "/var/$dir"
    echo "d /var/$dir 0755 root root -" >>/usr/lib/tmpfiles.d/bootc-layout.conf
done
rm -rf /root
ln -s var/roothome /root
mkdir -m 0700 /var/roothome
cat >>/usr/lib/tmpfiles.d/bootc-layout.conf <<'EOF'
d /var/roothome 0700 root root -
L /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg
d /var/cache/debconf 0755 root root -
EOF
mkdir -p /sysroot/ostree
ln -s sysroot/ostree /ostree
