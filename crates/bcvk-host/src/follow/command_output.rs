//! The output of `--execute`'s commands, on its way to the user.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use crate::vm::dir::VmDir;

/// Copies standard output and standard error of a VM's commands.
#[derive(Debug)]
pub struct CommandOutput {
    threads: [JoinHandle<()>; 2],
    /// Event counter that counts up when the VM has ended: nothing more will be written then.
    ended: Arc<OwnedFd>,
}

impl CommandOutput {
    /// Starts to copy the output of the VM in `dir`, byte for byte. A stream that cannot be written
    /// to any more ends the commands, as with any pipe.
    ///
    /// # Errors
    /// If the VM's streams cannot be opened.
    pub fn start(
        dir: &VmDir,
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let [out, err] = dir.shared().open_command_streams();
        let (out, err) = (out?, err?);
        let ended = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let [for_out, for_err] = [Arc::clone(&ended), Arc::clone(&ended)];
        Ok(Self {
            threads: [
                thread::spawn(move || copy(out, stdout, &for_out)),
                thread::spawn(move || copy(err, stderr, &for_err)),
            ],
            ended,
        })
    }

    /// Waits until all has been written. The caller must make sure that the VM has ended.
    pub fn finish(self) {
        // The counter is at zero, so this write does not wait.
        let _ = rustix::io::write(&*self.ended, &1_u64.to_ne_bytes());
        for thread in self.threads {
            // A panic of that thread has been reported there.
            let _ = thread.join();
        }
    }
}

fn copy(mut from: File, mut to: impl Write, ended: &OwnedFd) {
    // Output that cannot be written is of no interest to anybody.
    let _ = copy_all(&mut from, &mut to, ended).and_then(|()| to.flush());
}

fn copy_all(from: &mut File, to: &mut impl Write, ended: &OwnedFd) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let last = await_bytes(from, ended)?;
        match from.read(&mut buffer) {
            // The pipe has no writer any more, so this is its end.
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&buffer[..n])?,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && !last => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Waits until a read of `from` would return; returns true if the VM has ended.
fn await_bytes(from: &File, ended: &OwnedFd) -> io::Result<bool> {
    let mut fds = [
        PollFd::new(from, PollFlags::IN),
        PollFd::new(ended, PollFlags::IN),
    ];
    loop {
        match poll(&mut fds, None) {
            Ok(_) => return Ok(fds[1].revents().contains(PollFlags::IN)),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test makes the files")]
mod tests {
    use std::fs;
    use std::sync::mpsc::{Sender, channel};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    struct ChannelWriter(Sender<Vec<u8>>);

    impl Write for ChannelWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn vm_dir() -> (tempfile::TempDir, VmDir) {
        let tmp = tempfile::tempdir().expect("a directory");
        let dir = VmDir::at(tmp.path());
        let paths = dir.shared().paths().clone();
        fs::create_dir(paths.dir()).expect("made");
        for fifo in paths.command_streams() {
            mknodat(CWD, fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        }
        (tmp, dir)
    }

    #[test]
    fn all_that_was_written_arrives() {
        let (_tmp, dir) = vm_dir();
        let (sender, receiver) = channel();
        let output = CommandOutput::start(&dir, ChannelWriter(sender), io::sink()).expect("start");
        let [stdout, _] = dir.shared().paths().command_streams();
        let mut stdout = File::options().write(true).open(stdout).expect("a reader");
        stdout.write_all(b"one ").expect("write");
        assert_eq!(receiver.recv().expect("a piece"), b"one ");
        stdout.write_all(b"two").expect("write");
        drop(stdout);
        output.finish();
        assert_eq!(receiver.iter().flatten().collect::<Vec<_>>(), b"two");
    }

    #[test]
    fn streams_that_nobody_ever_wrote_to_keep_nobody() {
        let (_tmp, dir) = vm_dir();
        CommandOutput::start(&dir, io::sink(), io::sink())
            .expect("start")
            .finish();
    }
}
