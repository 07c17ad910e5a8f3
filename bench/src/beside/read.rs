//! Sequential reading of a large file through virtiofs, in both VMs by turns.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::replace::beside;
use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::interrupt;
use bcvk_testkit::drive::process::Running;
use bcvk_testkit::drive::say;

use super::common::{SHORT, TAG};
use super::floor::HandMade;
use super::memory;
use super::metrics::{Metric, Samples, mebibytes};
use super::setup::Setup;
use super::vm::Named;

const FILE: &str = "2GiB";
const SIZE: u64 = 2 << 30;

/// Bytes that the host reads and writes at once.
const CHUNK: usize = 1 << 20;

/// Limit for one reading of the file.
const READ: Duration = Duration::from_secs(300);

/// The last line of every command's output in a [`Shell`].
const MARK: &str = "bcvk-bench-status";

pub(super) fn measure(setup: &Setup, runs: u32, memory: bool, samples: &mut Samples) -> Result<()> {
    let file = make_file(&setup.data_dir)?;
    let share = format!("{}:{TAG}", setup.data_dir.display());

    let by_hand = HandMade::boot(setup, Some(&setup.data_dir))?;
    let vm = Named::new(setup, "read");
    vm.run_detached(&["--ro-bind", &share])?;
    vm.ssh("true", setup.limit)?;

    let mut hand = Shell::open(by_hand.ssh())?;
    let mounted = format!("/run/{TAG}");
    hand.run(
        &format!("mkdir -p {mounted} && mount -t virtiofs -o ro {TAG} {mounted}"),
        SHORT,
    )?;
    let mut bcvk = Shell::open(vm.ssh_command())?;
    for shell in [&mut hand, &mut bcvk] {
        // A boot that still goes on would slow down the first reader.
        shell.run(
            "systemctl is-system-running --wait >/dev/null || :",
            2 * SHORT,
        )?;
    }
    let shared = format!("/run/virtiofs-mnt-{TAG}");
    warm(&file)?;
    for _ in 0..runs {
        samples.add(Metric::FloorRead, read(&mut hand, &mounted)?);
        samples.add(Metric::Read, read(&mut bcvk, &shared)?);
    }
    if memory {
        memory::measure_after_reading(vm.supervisor()?, samples)?;
    }
    drop(bcvk);
    vm.remove()
}

/// Returns MiB per second, by the host's clock.
fn read(shell: &mut Shell, dir: &str) -> Result<f64> {
    shell.run("echo 3 >/proc/sys/vm/drop_caches", SHORT)?;
    let started = Instant::now();
    let said = shell.run(&format!("dd if={dir}/{FILE} of=/dev/null bs=1M"), READ)?;
    let took = started.elapsed();
    if !said
        .iter()
        .any(|line| line.starts_with(&format!("{SIZE} bytes")))
    {
        return Err(Error::other(format!("dd said: {}", said.join("; "))));
    }
    Ok(mebibytes(SIZE) / took.as_secs_f64())
}

/// Makes, once, a file without holes that no layer could find short cuts for.
fn make_file(dir: &Path) -> Result<PathBuf> {
    let path = dir.join(FILE);
    if fs::metadata(&path).is_ok_and(|meta| meta.len() == SIZE) {
        return Ok(path);
    }
    say(&format!("writing 2 GiB to {}", path.display()));
    let action = || Error::io(format!("write {}", path.display()));
    fs::create_dir_all(dir).map_err(action())?;
    let mut file = beside(&path, 0o600).map_err(action())?;
    let mut chunk = vec![0; CHUNK];
    let random = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut chunk));
    random.map_err(action())?;
    for number in 0..SIZE / CHUNK as u64 {
        interrupt::check()?;
        // Each chunk is another one, so none is deduplicated away.
        chunk[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&chunk).map_err(action())?;
    }
    file.as_file().sync_all().map_err(action())?;
    file.persist(&path).map_err(|e| action()(e.error))?;
    Ok(path)
}

/// Brings the file into the host's memory: the comparison is of the way from there into the guest.
fn warm(path: &Path) -> Result<()> {
    let action = || Error::io(format!("read {}", path.display()));
    let mut file = File::open(path).map_err(action())?;
    let mut chunk = vec![0; CHUNK];
    while file.read(&mut chunk).map_err(action())? > 0 {
        interrupt::check()?;
    }
    Ok(())
}

/// A shell in a guest that stays open, so that a command's time has no login in it.
struct Shell {
    input: ChildStdin,
    lines: Receiver<String>,
    _ssh: Running,
}

impl Shell {
    /// Opens a shell; `ssh` is a client's command line up to the command.
    fn open(mut ssh: Command) -> Result<Self> {
        ssh.arg("sh").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(&mut ssh)?;
        let child = running.child();
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::other("ssh has no pipes"));
        };
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(io::Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            input,
            lines,
            _ssh: running,
        })
    }

    /// Runs a command and returns its output, stderr included.
    fn run(&mut self, command: &str, limit: Duration) -> Result<Vec<String>> {
        let deadline = Instant::now() + limit;
        writeln!(self.input, "{{ {command}; }} 2>&1; echo {MARK} $?")
            .map_err(Error::io("write to the guest's shell"))?;
        let mut output = Vec::new();
        loop {
            interrupt::check()?;
            match self.lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => match line.strip_prefix(MARK).map(str::trim) {
                    None => output.push(line),
                    Some("0") => return Ok(output),
                    Some(code) => {
                        return Err(Error::other(format!(
                            "`{command}` failed in the guest ({code}): {}",
                            output.join("; ")
                        )));
                    }
                },
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::other("the guest's shell ended"));
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Error::other(format!(
                        "`{command}` was not done in the guest after {} s",
                        limit.as_secs()
                    )));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_answers_command_by_command() {
        let mut shell = Shell::open(Command::new("env")).expect("sh");
        let second = Duration::from_secs(1);
        assert_eq!(
            shell.run("echo a; echo b >&2", second).expect("runs"),
            ["a", "b"]
        );
        assert!(shell.run("echo why; false", second).is_err());
        assert!(shell.run("sleep 2", Duration::from_millis(300)).is_err());
    }
}
