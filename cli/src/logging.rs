//! The program's log: to standard error or to a file, filtered by flags and `PCP_VMM_LOG`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::OnceLock;
use std::thread;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::args::{CommonArgs, LogFormat};
use crate::diagnostic::Diagnostic;
use crate::env;

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts logging as `args` and the environment ask for.
pub(crate) fn start(args: &CommonArgs) -> Result<(), Diagnostic> {
    let level = match args.verbose {
        _ if args.quiet => LevelFilter::Error,
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let filter = match env::get(env::LOG) {
        Some(text) => Filter::parse(&text.to_string_lossy(), level)?,
        None => Filter::new(level),
    };
    let open = |path| OpenOptions::new().append(true).create(true).open(path);
    let file = args
        .log_file
        .as_ref()
        .map(open)
        .transpose()
        .map_err(|error| {
            let path = args.log_file.as_deref().unwrap_or("".as_ref()).display();
            Diagnostic::failure("log-file", format!("cannot open log `{path}`")).because(&error)
        })?;
    log::set_max_level(filter.most());
    let logger = LOGGER.get_or_init(|| Logger {
        filter,
        file,
        json: args.log_format == LogFormat::Json,
    });
    // A second call finds the first logger in place, which is as good.
    let _ = log::set_logger(logger);
    Ok(())
}

/// Which lines are written: a level for all, and levels for modules.
#[derive(Debug, PartialEq, Eq)]
struct Filter {
    default: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

impl Filter {
    fn new(default: LevelFilter) -> Self {
        Self {
            default,
            targets: Vec::new(),
        }
    }

    fn parse(text: &str, default: LevelFilter) -> Result<Self, Diagnostic> {
        let mut filter = Self::new(default);
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (target, level) = match part.split_once('=') {
                Some((target, level)) => (Some(target), level),
                None => (None, part),
            };
            let level = level.parse().map_err(|_| {
                Diagnostic::usage(
                    "log-filter",
                    format!("`{part}` in `{}` is no log filter", env::LOG),
                )
                .hint("write a level (error, warn, info, debug, trace, off) or `TARGET=LEVEL`")
            })?;
            match target {
                Some(target) => filter.targets.push((target.to_owned(), level)),
                None => filter.default = level,
            }
        }
        Ok(filter)
    }

    /// The most that any line may be written at.
    fn most(&self) -> LevelFilter {
        let targets = self.targets.iter().map(|(_, level)| *level);
        targets.fold(self.default, Ord::max)
    }

    fn allows(&self, target: &str, level: Level) -> bool {
        let matching = self.targets.iter().filter(|(prefix, _)| {
            target
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        let longest = matching.max_by_key(|(prefix, _)| prefix.len());
        level <= longest.map_or(self.default, |(_, level)| *level)
    }
}

struct Logger {
    filter: Filter,
    file: Option<File>,
    json: bool,
}

impl Logger {
    fn line(&self, record: &Record<'_>) -> String {
        let thread = thread::current();
        let thread = thread.name().unwrap_or("?");
        let level = record.level().as_str().to_ascii_lowercase();
        let target = record.target();
        if self.json {
            let message = record.args().to_string();
            let line = serde_json::json!({
                "level": level, "thread": thread, "target": target, "message": message,
            });
            format!("{line}\n")
        } else {
            format!("{level:<5} {thread} {target}: {}\n", record.args())
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.allows(metadata.target(), metadata.level())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = self.line(record);
        // A log that cannot be written must not end the VM.
        let _ = match &self.file {
            Some(file) => (&mut &*file).write_all(line.as_bytes()),
            None => io::stderr().lock().write_all(line.as_bytes()),
        };
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_target_decides() {
        let filter = Filter::parse("warn,devices=info,devices::virtio=trace", LevelFilter::Off);
        let filter = filter.unwrap();
        assert!(filter.allows("devices::virtio::net", Level::Trace));
        assert!(filter.allows("devices::bus", Level::Info));
        assert!(!filter.allows("devices::bus", Level::Debug));
        assert!(!filter.allows("devicesque", Level::Info));
        assert!(filter.allows("vmm", Level::Warn));
        assert_eq!(filter.most(), LevelFilter::Trace);
    }

    #[test]
    fn a_filter_that_is_none_is_a_usage_error() {
        for text in ["loud", "devices=", "devices=loud"] {
            let error = Filter::parse(text, LevelFilter::Warn).unwrap_err();
            assert_eq!(error.code, "log-filter", "{text}");
        }
    }
}
