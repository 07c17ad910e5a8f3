//! Commands that bcvk runs of itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use bcvk_guest::agent;
use bcvk_guest::early::{self, EarlyError};
use bcvk_guest::login;
use bcvk_guest::services;
use bcvk_host::podman::Podman;
use bcvk_host::{self, Tool, VmDir, find_tool};
use bcvk_supervisor::virtiofs::{ServeOptions, TraceOptions, serve};
use bcvk_supervisor::{self, QemuConfinement, exec_confined};

use super::pod;
use crate::cli::{InGuest, Internal};
use crate::error::CommandError;
use crate::ui::{Notice, Ui};

pub(super) fn run(internal: Internal, ui: &Ui) -> Result<ExitCode, CommandError> {
    match internal {
        Internal::Supervise(container) => Ok(ExitCode::from(bcvk_supervisor::run(
            &container.root,
            container.runner,
        ))),
        Internal::Debug(container) => Err(CommandError::io("start a shell")(
            bcvk_supervisor::shell(&container.root, container.runner),
        )),
        Internal::Pod(args) => pod::pod(&args, ui),
        Internal::Ready => Ok(pod::ready()),
        Internal::Virtiofs {
            read_only,
            immutable,
            images,
            trace,
            early,
            given,
            file: files,
            dir,
        } => {
            let trace = trace.zip(given);
            let options = ServeOptions {
                dir,
                read_only,
                immutable,
                images,
                trace: trace.map(|(file, given)| TraceOptions {
                    file,
                    early,
                    given,
                    files,
                }),
            };
            Ok(virtiofs(&options))
        }
        Internal::ExecQemu {
            root,
            files,
            user,
            kvm,
            command,
        } => {
            let confinement = QemuConfinement {
                root,
                files,
                user,
                kvm,
            };
            Err(exec_qemu(&confinement, command))
        }
        Internal::Proxy { dir, user } => {
            let podman = find_tool(Tool::Podman).ok().map(Podman::new);
            let dir = VmDir::at(dir);
            if let Some(held) = bcvk_host::proxy(&dir, podman.as_ref(), user.as_deref())?
                && let Ok(spec) = dir.read_spec()
            {
                let name = spec.name.to_string();
                ui.notice(&Notice::SessionEnded { name, held });
            }
            Ok(ExitCode::SUCCESS)
        }
        Internal::Relay { dir, user } => {
            bcvk_host::relay_in_container(&dir, user.as_deref())?;
            Ok(ExitCode::SUCCESS)
        }
        Internal::Forget { dir } => {
            // If somebody still uses the directory, they will remove it. Nobody would read an error
            // of a hook.
            let _ = VmDir::at(dir).remove_if_unused();
            Ok(ExitCode::SUCCESS)
        }
        Internal::KeepSnapshot { snapshot, dir } => {
            bcvk_host::keep_snapshot(snapshot, &VmDir::at(dir))
                .map_err(CommandError::io("make a snapshot"))?;
            Ok(ExitCode::SUCCESS)
        }
        Internal::InGuest(task) => in_guest(task),
    }
}

fn in_guest(task: InGuest) -> Result<ExitCode, CommandError> {
    let done = match task {
        InGuest::MountRoot => return Ok(early(early::mount_root())),
        InGuest::HandOver => return Ok(early(early::hand_over())),
        InGuest::Login { exposes } => {
            login::serve(exposes).map_err(CommandError::io("take sessions"))
        }
        InGuest::Agent => agent::serve().map_err(CommandError::io("listen to the host")),
        InGuest::Session { launch, command } => {
            login::exec_session(&launch, &command).map_err(CommandError::io("begin the session"))
        }
        InGuest::Tell { message } => {
            bcvk_guest::tell(&message);
            Ok(())
        }
        InGuest::ReportFailed => {
            services::report_failed();
            Ok(())
        }
        InGuest::ReportRefusals => {
            services::report_refusals().map_err(CommandError::io("read the journal"))
        }
        InGuest::ReportListening => services::report_listening()
            .map(|never| match never {})
            .map_err(CommandError::io("find what listens")),
        InGuest::Execute => services::execute().map_err(CommandError::io("run the commands")),
        InGuest::SendJournal { port } => Err(CommandError::io("send the journal")(
            services::send_journal(port),
        )),
        InGuest::ConfigureNetwork { net, domain } => {
            services::configure_network(net, domain.as_deref())
                .map_err(CommandError::io("configure the network"))
        }
        InGuest::KeepProgram => {
            services::keep_program().map_err(CommandError::io("keep this program"))
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Serves files until the guest's kernel goes away; an error is logged.
fn virtiofs(options: &ServeOptions) -> ExitCode {
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "file server");
            ExitCode::FAILURE
        }
    }
}

/// Becomes the program of `command`, confined; returns only if that fails.
fn exec_qemu(confinement: &QemuConfinement, command: Vec<OsString>) -> CommandError {
    let mut words = command.into_iter();
    let program = PathBuf::from(words.next().unwrap_or_default());
    let args: Vec<_> = words.collect();
    let failed = CommandError::io(format!("run {}", program.display()));
    failed(exec_confined(confinement, &program, &args))
}

/// Reports an error to the guest's journal; the host gets the end of the journal.
fn early(result: Result<(), EarlyError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
