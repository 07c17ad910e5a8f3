# Gives the first virtio network interface the address that QEMU forwards connections to.
set -eu
tries=0
while :; do
    for device in /sys/bus/virtio/drivers/virtio_net/virtio*/net/*; do
        [ -e "$device" ] && break 2
    done
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || exit 1
    sleep 0.05
done
name=${device##*/}
ip link set "$name" up
ip address add @GUEST@ dev "$name"
ip route add default via @GATEWAY@
# Where nothing configures the network, nothing has said where names are resolved either. What is
# empty may be a link to a file of systemd-resolved's, which makes it when it starts and has its name
# server from bcvk's resolved.conf.d.
if [ ! -s /etc/resolv.conf ] && ! systemctl --quiet is-enabled systemd-resolved.service; then
    rm -f /etc/resolv.conf
    echo 'nameserver @DNS@' >/etc/resolv.conf
fi
