# Tells the host which units failed and what they said last. $1 is the directory of this script.
# Runs in the initramfs and in the real root, so it uses what every systemd has.
. "$1/port"

await_port 1

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
