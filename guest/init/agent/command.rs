//! The command: started as ordered, and seen to its end.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use super::streams::Relay;
use super::{Host, connect};
use crate::sys;
use crate::wire::{Channel, How, News, Order, Step, Usage};

/// A command that runs.
pub(super) struct Running {
    pid: u32,
    relay: Relay,
    terminal: Option<File>,
}

impl Running {
    /// Starts the command that `order` describes, with its streams connected to `host`.
    pub(super) fn start(order: &Order, host: Host) -> Result<Self, (Step, io::Error)> {
        let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        std::env::set_current_dir(text(&order.folder)).map_err(|error| (Step::Folder, error))?;
        let (program, arguments) = order.words.split_first().ok_or_else(|| {
            let error = io::Error::from(io::ErrorKind::InvalidInput);
            (Step::Program, error)
        })?;
        let mut command = Command::new(text(program));
        command.args(arguments.iter().map(|word| text(word)));
        command.env_clear();
        for setting in &order.environment {
            let at = setting.iter().position(|&byte| byte == b'=');
            let Some(at) = at.filter(|&at| at > 0) else {
                continue;
            };
            command.env(text(&setting[..at]), text(&setting[at + 1..]));
        }
        let has_terminal = order.terminal.is_some();
        sys::process::prepare(
            &mut command,
            has_terminal,
            order.user,
            order.group,
            &order.groups,
        );
        let streams = |error| (Step::Streams, error);
        match order.terminal {
            Some(size) => {
                let (master, slave) = sys::terminal::open().map_err(streams)?;
                sys::terminal::resize(&master, size.rows, size.columns).map_err(streams)?;
                std::os::unix::fs::fchown(&slave, Some(order.user), None).map_err(streams)?;
                for stream in [Command::stdin, Command::stdout, Command::stderr] {
                    let own = slave.try_clone().map_err(streams)?;
                    stream(&mut command, Stdio::from(own));
                }
                drop(slave);
                let stream = connect(host, Channel::Terminal).map_err(streams)?;
                let child = command.spawn().map_err(|error| (Step::Program, error))?;
                // The command's side is closed here, or its end would not be seen.
                drop(command);
                let relay = Relay::terminal(&master, stream).map_err(streams)?;
                Ok(Self {
                    pid: child.id(),
                    relay,
                    terminal: Some(master),
                })
            }
            None => {
                let (input, keys) = io::pipe().map_err(streams)?;
                let (out, output) = io::pipe().map_err(streams)?;
                let keyboard = connect(host, Channel::Input).map_err(streams)?;
                let mut outputs = vec![(out, connect(host, Channel::Output).map_err(streams)?)];
                let errors = if order.one_output {
                    output.try_clone().map_err(streams)?
                } else {
                    let (err, errors) = io::pipe().map_err(streams)?;
                    outputs.push((err, connect(host, Channel::Errors).map_err(streams)?));
                    errors
                };
                command.stdin(input).stdout(output).stderr(errors);
                let child = command.spawn().map_err(|error| (Step::Program, error))?;
                let pid = child.id();
                // The command's sides are closed here, or their end would not be seen.
                drop(command);
                let relay = Relay::pipes((keyboard, keys), outputs).map_err(streams)?;
                Ok(Self {
                    pid,
                    relay,
                    terminal: None,
                })
            }
        }
    }

    /// Its process, which leads its group.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its terminal, if it has one.
    pub(super) fn terminal(&self) -> Option<File> {
        self.terminal.as_ref()?.try_clone().ok()
    }

    /// Waits for its end, and until all that it has put out is on its way.
    pub(super) fn wait(self) -> News {
        let ended = loop {
            match sys::process::wait() {
                Ok(ended) if ended.pid == self.pid => break ended,
                // An orphan, which the first process inherits.
                Ok(_) => {}
                Err(error) => {
                    return News::Failed {
                        step: Step::Program,
                        errno: error.raw_os_error().unwrap_or(0),
                    };
                }
            }
        };
        self.relay.finish();
        News::Ended {
            how: match ended.status {
                Ok(status) => How::Exited(status),
                Err(signal) => How::Signalled(signal),
            },
            usage: Usage {
                user_us: ended.user_us,
                kernel_us: ended.kernel_us,
                most_kib: ended.most_kib,
            },
        }
    }
}
