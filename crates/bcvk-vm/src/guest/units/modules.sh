# Loads the modules beside this script, in the order of their numbers. Runs in the initramfs.

# A module that udev is loading at this moment is there already, but not ready.
ready() {
    state=
    read -r state 2>/dev/null <"/sys/module/$1/initstate"
    [ "$state" = live ]
}

# All of kmod is one program, which does what it is called; modprobe is what the kernel calls.
if ! command -v insmod >/dev/null; then
    mkdir -p /run/bcvk
    ln -s "$(command -v modprobe)" /run/bcvk/insmod
    PATH=$PATH:/run/bcvk
fi

missing=0
for file in /usr/lib/bcvk/modules/*.ko; do
    name=${file##*/??-}
    name=${name%.ko}
    ready "$name" && continue
    # Waits for whoever else is loading it, and fails if that went well.
    said=$(insmod "$file" 2>&1) || ready "$name" || {
        echo "$name: $said" >&2
        missing=1
    }
done
exit "$missing"
