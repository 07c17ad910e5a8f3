# Runs the commands in /run/bcvk/commands, one after the other, until one fails, and powers off.
# $1 and $2 are the numbers of the ports for standard output and standard error.
. /run/bcvk/port

await_port "$1"
await_port "$2"
out=$(port_file "$1")
err=$(port_file "$2")
tell up
code=0
for command in /run/bcvk/commands/*; do
    SHELL=/bin/sh /bin/sh -c -- "$(cat "$command")" </dev/null
    code=$?
    [ "$code" -eq 0 ] || break
done >"$out" 2>"$err"
tell executed "$code"
systemctl --no-block poweroff
