# Sends the journal of this boot to the host, from its first message on. $1 is the directory of
# this script, $2 the number of the port.
. "$1/port"

await_port "$2"
# journalctl does not notice that the first file of all comes into being.
written() {
    for file in /run/log/journal/*/system.journal /var/log/journal/*/system.journal; do
        [ -e "$file" ] && return 0
    done
    return 1
}
until written; do
    sleep 0.05
done
exec journalctl --boot --follow --no-tail --output=json --no-pager --quiet >"$(port_file "$2")"
