# Tells the host which units failed and what they said last. $1 is the directory of this script.
# Runs in the initramfs and in the real root, so it uses what every systemd has.
. "$1/port"

# Nothing else may have asked for the driver yet, and loading it takes a moment.
modprobe virtio_console 2>/dev/null
tries=0
until [ -e /dev/vport0p1 ] || [ -e /dev/vport1p1 ] || [ "$tries" -ge 40 ]; do
    tries=$((tries + 1))
    sleep 0.05
done

# A unit with OnFailure= that systemd is about to start again is not in the state failed; systemd
# names it here.
{
    [ -z "${MONITOR_UNIT:-}" ] || echo "$MONITOR_UNIT"
    systemctl list-units --state=failed --plain --no-legend --no-pager
} | while read -r unit _; do
    reason=$(journalctl -b -u "$unit" -o cat --no-pager -n 5 2>/dev/null | tr '\n' '|')
    tell failed "$unit: ${reason%|}"
done
tell reported
exit 0
