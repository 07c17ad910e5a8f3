//! Functions of bcvk that use something of the host's.

use super::super::case::{Case, Who};
use super::{RESUME, RUN};

/// Returns the cases.
pub(super) fn all() -> Vec<Case> {
    vec![executes(), shares(), keeps_logs(), interrupted()]
}

/// The guest's clock has to be between two looks at the host's.
pub(super) fn background() -> Case {
    let script = format!(
        "set -e
        {RUN} IMAGE >/dev/null
        before=$(date +%s)
        now=$(bcvk -q ephemeral ssh vm date +%s)
        after=$(date +%s)
        [ \"$before\" -le \"$now\" ] && [ \"$now\" -le \"$after\" ] || echo \"clock: $before $now $after\"
        bcvk -q ephemeral ssh vm hostname
        bcvk -q ephemeral stop vm >/dev/null
        echo stopped"
    );
    Case::printing(
        Who::Session,
        "run -d resumes: clock, ssh, stop, --rm",
        script,
        &["vm\nstopped"],
    )
}

fn executes() -> Case {
    let script = "bcvk -q ephemeral run --rm --warm require --execute 'echo out; echo err >&2; exit 7' IMAGE";
    Case {
        code: 7,
        stderr: "err",
        ..Case::printing(
            Who::Session,
            "run --execute resumes: exit code, streams",
            script,
            &["out"],
        )
    }
}

/// The image's sshd, whose port is published, may start after the VM is ready.
fn shares() -> Case {
    let script = format!(
        "set -e
        dir=$(mktemp -d); cd \"$dir\"; mkdir share; echo ours >share/file; truncate --size=8M disk
        {RUN} --bind \"$dir/share:share\" --ro-bind /etc:etc --mount-disk-file disk:data \
            --publish 127.0.0.1:18022:22 IMAGE >/dev/null
        bcvk -q ephemeral ssh vm 'cd /run/virtiofs-mnt-share && cat file && echo theirs >back; \
            cmp -s ../virtiofs-mnt-etc/machine-id /etc/machine-id || echo other; \
            echo wrote | dd of=/dev/disk/by-id/virtio-data conv=fsync status=none'
        cat share/back
        head --bytes=6 disk
        bcvk -q ephemeral ssh-config vm >config
        scp -q -F config share/file vm:/run/copy
        bcvk -q ephemeral ssh vm cat /run/copy
        for i in $(seq 60); do
            banner=$(bash -c 'exec 3<>/dev/tcp/127.0.0.1/18022; head --bytes=7 <&3' 2>/dev/null) || true
            [ -z \"$banner\" ] || break
            sleep 1
        done; echo \"$banner\"
        podman stop vm >/dev/null; rm -r \"$dir\""
    );
    Case::printing(
        Who::Session,
        "run -d resumes: --bind, --ro-bind, --mount-disk-file, --publish, scp, podman stop",
        script,
        &["ours\nother\ntheirs\nwrote\nours\nSSH-2.0\n"],
    )
}

fn keeps_logs() -> Case {
    let script = "set -e
        dir=$(mktemp -d)
        bcvk -q ephemeral run-ssh --log-dir journal,console=\"$dir\" --add-swap 64M IMAGE -- \
            swapon --show=SIZE --noheadings
        grep --quiet 'MESSAGE.*Reached target' \"$dir/journal.json\" && echo journal
        grep --quiet 'Linux version' \"$dir/console.txt\" && echo console
        rm -r \"$dir\"";
    Case::printing(
        Who::Session,
        "run-ssh boots: --log-dir, --add-swap",
        script,
        &["64M\njournal\nconsole"],
    )
}

fn interrupted() -> Case {
    let script = format!(
        "out=$(mktemp); {RESUME} IMAGE 'echo in; exec sleep 600' >\"$out\" & pid=$!
        until grep --quiet in \"$out\"; do kill -0 $pid || exit 1; sleep 1; done
        kill -TERM $pid; wait $pid; echo \"code $?\"; podman ps --all --quiet"
    );
    Case::printing(
        Who::Session,
        "run-ssh ends when it is terminated",
        script,
        &["code 143\n"],
    )
}
