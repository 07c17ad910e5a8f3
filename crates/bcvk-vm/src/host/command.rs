//! What `--execute`'s commands write, on its way to the user.

use std::fs::File;
use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use super::vmdir::VmDir;

/// Copies standard output and standard error of a VM's commands.
#[derive(Debug)]
pub struct CommandOutput {
    threads: [JoinHandle<()>; 2],
}

impl CommandOutput {
    /// Starts to copy what comes from the VM in `dir`, byte for byte. What cannot be written any
    /// more ends the commands, as with any pipe.
    pub fn start(
        dir: &VmDir,
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
    ) -> Self {
        let [out, err] = dir.command_streams();
        Self {
            threads: [
                thread::spawn(move || copy(File::open(out), stdout)),
                thread::spawn(move || copy(File::open(err), stderr)),
            ],
        }
    }

    /// Waits until all has been written. To be called when the VM has ended: opening a FIFO
    /// blocks until its other end, the supervisor, is there.
    pub fn finish(self) {
        for thread in self.threads {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}

fn copy(from: io::Result<File>, mut to: impl Write) {
    if let Ok(mut from) = from {
        let _ = io::copy(&mut from, &mut to).and_then(|_| to.flush());
    }
}
