//! Definitions of a VM as a service, for the managers that people have.

mod sockets;

pub(crate) use sockets::socket;
use vmm::config::value::ConsoleValue;

use crate::network::shown;

/// Seconds that a guest is given to boot.
const START: u32 = 900;
/// Seconds that a guest is given to shut down.
const STOP: u32 = 90;

/// A service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InitSystem {
    /// systemd: a unit.
    Systemd,
    /// supervisord: a program section.
    Supervisord,
    /// System V init: a script with an LSB header.
    Sysvinit,
    /// s6-rc: a folder of a source, with its logger.
    S6Rc,
    /// BSD's rc.d: a script.
    Bsdrc,
    /// launchd: a property list.
    Launchd,
    /// Docker Compose: a file with one service.
    DockerCompose,
}

/// What is to be a service.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// The VM's name.
    pub(crate) name: String,
    /// The program.
    pub(crate) program: String,
    /// The flags of `run`.
    pub(crate) flags: Vec<String>,
    /// The VMs that are started before it.
    pub(crate) after: Vec<String>,
    /// Who runs it; the manager's default if nobody is named.
    pub(crate) user: Option<String>,
    /// The container's image, for those managers that have containers.
    pub(crate) image: String,
    /// Consoles that the manager listens for, and starts the VM when somebody connects; systemd alone.
    pub(crate) sockets: Vec<ConsoleValue>,
    /// Settings in place of, or beside, the usual ones.
    pub(crate) settings: Vec<(String, String)>,
}

/// A file of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its path in the folder of definitions.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// Whether it is run.
    pub(crate) executable: bool,
}

impl Service {
    /// The files that `manager` takes.
    pub(crate) fn pieces(&self, manager: InitSystem) -> Vec<Piece> {
        let piece = |path: String, text: String, executable| {
            vec![Piece {
                path,
                text,
                executable,
            }]
        };
        let unit = unit(&self.name);
        match manager {
            InitSystem::Systemd => {
                let mut pieces = piece(format!("{unit}.service"), self.systemd(), false);
                if !self.sockets.is_empty() {
                    let text = sockets::systemd(&self.name, &self.sockets);
                    pieces.extend(piece(format!("{unit}.socket"), text, false));
                }
                pieces
            }
            InitSystem::Supervisord => piece(format!("{unit}.conf"), self.supervisord(), false),
            InitSystem::Sysvinit => piece(unit, self.sysvinit(), true),
            InitSystem::S6Rc => self.s6_rc(),
            InitSystem::Bsdrc => piece(unit.replace('-', "_"), self.bsdrc(), true),
            InitSystem::Launchd => piece(format!("{unit}.plist"), self.launchd(), false),
            InitSystem::DockerCompose => {
                piece(format!("{unit}.compose.yaml"), self.compose(), false)
            }
        }
    }

    /// The command line of the VM in the foreground.
    fn words(&self) -> Vec<String> {
        let first = [&self.program, "run", "--name", &self.name].map(str::to_owned);
        first
            .into_iter()
            .chain(self.flags.iter().cloned())
            .chain(sockets::flags(&self.sockets))
            .collect()
    }

    /// The usual settings with those of the user: the same key takes another value, a new one comes last.
    fn settled(&self, usual: &[(&str, String)]) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = usual
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        for (key, value) in &self.settings {
            // A key without a section is one of the service's own.
            let of_service = format!("Service.{key}");
            match all
                .iter_mut()
                .find(|(known, _)| known == key || *known == of_service)
            {
                Some((_, known)) => known.clone_from(value),
                None => all.push((key.clone(), value.clone())),
            }
        }
        all.retain(|(_, value)| !value.is_empty());
        all
    }

    fn units(&self) -> Vec<String> {
        self.after.iter().map(|name| unit(name)).collect()
    }

    fn systemd(&self) -> String {
        let others: Vec<String> = self
            .units()
            .iter()
            .map(|it| format!("{it}.service"))
            .collect();
        let after = [vec!["network.target".to_owned()], others.clone()].concat();
        let words: Vec<String> = self.words().iter().map(|it| systemd_word(it)).collect();
        let usual = [
            (
                "Unit.Description",
                format!("PCP virtual machine {}", self.name),
            ),
            ("Unit.After", after.join(" ")),
            ("Unit.Requires", others.join(" ")),
            ("Service.Type", "notify".to_owned()),
            ("Service.ExecStart", words.join(" ")),
            ("Service.User", self.user.clone().unwrap_or_default()),
            ("Service.TimeoutStartSec", START.to_string()),
            // SIGINT presses the guest's power button.
            ("Service.KillSignal", "SIGINT".to_owned()),
            ("Service.KillMode", "mixed".to_owned()),
            ("Service.TimeoutStopSec", STOP.to_string()),
            ("Service.Restart", "on-failure".to_owned()),
            (
                "Install.WantedBy",
                // With sockets, these are enabled, and start it.
                match self.sockets.is_empty() {
                    true => "multi-user.target".to_owned(),
                    false => String::new(),
                },
            ),
        ];
        let mut text = String::new();
        for section in ["Unit", "Service", "Install"] {
            text.push_str(&format!("[{section}]\n"));
            for (key, value) in self.settled(&usual) {
                let (of, key) = match key.split_once('.') {
                    Some((of, key)) => (of, key.to_owned()),
                    None => ("Service", key),
                };
                if of == section {
                    text.push_str(&format!("{key}={value}\n"));
                }
            }
            text.push('\n');
        }
        text.trim_end().to_owned() + "\n"
    }

    fn supervisord(&self) -> String {
        // There are no dependencies; a program of a higher number is started later.
        let priority = 100 + 10 * self.after.len();
        let mut usual = vec![
            ("command", shown(&self.words()).replace('%', "%%")),
            ("priority", priority.to_string()),
            ("autorestart", "unexpected".to_owned()),
            ("startsecs", "5".to_owned()),
            ("stopsignal", "INT".to_owned()),
            ("stopwaitsecs", STOP.to_string()),
            ("redirect_stderr", "true".to_owned()),
        ];
        usual.extend(self.user.clone().map(|user| ("user", user)));
        let lines: Vec<String> = self
            .settled(&usual)
            .iter()
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect();
        format!("[program:{}]\n{}", unit(&self.name), lines.concat())
    }

    /// The commands of a script: start in the background, and stop.
    fn script_words(&self) -> [String; 3] {
        let name = &self.name;
        let run = self.words();
        let pid = format!("/run/{}.pid", unit(name));
        let daemon = ["--daemon", "--pid-file", &pid].map(str::to_owned);
        let start = shown(&[run, daemon.to_vec()].concat());
        let words = |verb: &str| shown(&[self.program.as_str(), verb, name].map(str::to_owned));
        let as_user = |command: String| match &self.user {
            Some(user) => shown(&["su", "-s", "/bin/sh", "-c", &command, user].map(str::to_owned)),
            None => command,
        };
        [start, words("stop"), words("status")].map(as_user)
    }

    fn variables(&self) -> String {
        let settings = self.settings.iter();
        settings
            .map(|(key, value)| {
                format!(
                    "{key}={}\nexport {key}\n",
                    shown(std::slice::from_ref(value))
                )
            })
            .collect()
    }

    fn sysvinit(&self) -> String {
        let (name, unit) = (&self.name, unit(&self.name));
        let [start, stop, status] = self.script_words();
        let needs = [
            vec!["$remote_fs".to_owned(), "$network".to_owned()],
            self.units(),
        ]
        .concat();
        let needs = needs.join(" ");
        format!(
            "#!/bin/sh\n### BEGIN INIT INFO\n# Provides:          {unit}\n# Required-Start:    {needs}\n\
             # Required-Stop:     {needs}\n# Default-Start:     2 3 4 5\n# Default-Stop:      0 1 6\n\
             # Short-Description: PCP virtual machine {name}\n### END INIT INFO\n{}\n\
             start() {{\n    {status} >/dev/null 2>&1 || {start}\n}}\n\n\
             stop() {{\n    ! {status} >/dev/null 2>&1 || {stop}\n}}\n\n\
             case \"$1\" in\n    start|stop) \"$1\" ;;\n    restart|force-reload) stop && start ;;\n\
             \x20   status) {status} ;;\n    *) echo \"Usage: $0 {{start|stop|restart|force-reload|status}}\" >&2; exit 2 ;;\nesac\n",
            self.variables()
        )
    }

    fn bsdrc(&self) -> String {
        let name = unit(&self.name).replace('-', "_");
        let [start, stop, status] = self.script_words();
        let needs: Vec<String> = self.units().iter().map(|it| it.replace('-', "_")).collect();
        let needs = [vec!["NETWORKING".to_owned()], needs].concat().join(" ");
        format!(
            "#!/bin/sh\n# PROVIDE: {name}\n# REQUIRE: {needs}\n# KEYWORD: shutdown\n\n. /etc/rc.subr\n\n\
             name={name}\nrcvar={name}_enable\n{}start_cmd={name}_start\nstop_cmd={name}_stop\n\
             status_cmd={name}_status\n\n{name}_start() {{\n    {start}\n}}\n\n{name}_stop() {{\n    {stop}\n}}\n\n\
             {name}_status() {{\n    {status}\n}}\n\nload_rc_config $name\nrun_rc_command \"$1\"\n",
            self.variables()
        )
    }

    fn s6_rc(&self) -> Vec<Piece> {
        let unit = unit(&self.name);
        let mut pieces = Vec::new();
        let mut put = |path: String, text: String, executable| {
            pieces.push(Piece {
                path,
                text,
                executable,
            });
        };
        let user = self.user.as_ref().map(|user| {
            let user = shown(std::slice::from_ref(user));
            format!("s6-setuidgid {user} ")
        });
        let run = format!("{}{}", user.unwrap_or_default(), shown(&self.words()));
        put(format!("{unit}/type"), "longrun\n".to_owned(), false);
        put(
            format!("{unit}/run"),
            format!("#!/bin/sh\nexec 2>&1\nexec {run}\n"),
            true,
        );
        put(
            format!("{unit}/producer-for"),
            format!("{unit}-log\n"),
            false,
        );
        let usual = [
            ("down-signal", "SIGINT".to_owned()),
            ("timeout-kill", (STOP * 1000).to_string()),
        ];
        for (key, value) in self.settled(&usual) {
            put(format!("{unit}/{key}"), format!("{value}\n"), false);
        }
        for other in self.units() {
            put(
                format!("{unit}/dependencies.d/{other}"),
                String::new(),
                false,
            );
        }
        put(format!("{unit}-log/type"), "longrun\n".to_owned(), false);
        put(
            format!("{unit}-log/run"),
            format!("#!/bin/sh\nexec s6-log -d3 n10 s1000000 T /var/log/{unit}\n"),
            true,
        );
        put(
            format!("{unit}-log/notification-fd"),
            "3\n".to_owned(),
            false,
        );
        put(
            format!("{unit}-log/consumer-for"),
            format!("{unit}\n"),
            false,
        );
        put(
            format!("{unit}-log/pipeline-name"),
            format!("{unit}-pipeline\n"),
            false,
        );
        pieces
    }

    fn launchd(&self) -> String {
        let text = |value: &str| format!("<string>{}</string>", xml(value));
        let words: Vec<String> = self
            .words()
            .iter()
            .map(|it| format!("        {}\n", text(it)))
            .collect();
        let mut entries = format!(
            "    <key>Label</key>\n    {}\n    <key>ProgramArguments</key>\n    <array>\n{}    </array>\n\
             \x20   <key>RunAtLoad</key>\n    <true/>\n    <key>ExitTimeOut</key>\n    <integer>{STOP}</integer>\n",
            text(&unit(&self.name)),
            words.concat()
        );
        let user = self
            .user
            .iter()
            .map(|user| ("UserName".to_owned(), user.clone()));
        for (key, value) in user.chain(self.settings.clone()) {
            entries.push_str(&format!(
                "    <key>{}</key>\n    {}\n",
                xml(&key),
                text(&value)
            ));
        }
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
             \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict>\n{entries}</dict>\n</plist>\n"
        )
    }

    fn compose(&self) -> String {
        // A JSON string is a string of YAML 1.2 too.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let words: Vec<String> = self
            .words()
            .iter()
            .skip(1)
            .map(|it| quoted(&it.replace('$', "$$")))
            .collect();
        let usual = [
            ("image", quoted(&self.image)),
            ("command", format!("[{}]", words.join(", "))),
            ("user", self.user.as_deref().map(quoted).unwrap_or_default()),
            ("devices", "[\"/dev/kvm\"]".to_owned()),
            ("network_mode", "host".to_owned()),
            ("stop_signal", "SIGINT".to_owned()),
            ("stop_grace_period", format!("{STOP}s")),
            ("restart", "on-failure".to_owned()),
        ];
        let lines: Vec<String> = self
            .settled(&usual)
            .iter()
            .map(|(key, value)| format!("    {key}: {value}\n"))
            .collect();
        let mut text = format!("services:\n  {}:\n{}", unit(&self.name), lines.concat());
        if !self.after.is_empty() {
            text.push_str(&format!("    depends_on: [{}]\n", self.units().join(", ")));
        }
        text
    }
}

/// The service's name.
pub(crate) fn unit(name: &str) -> String {
    format!("pcp-vmm-{name}")
}

/// A word of a command line of systemd's (systemd.service(5), "COMMAND LINES").
fn systemd_word(word: &str) -> String {
    let word = word.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%$+[]".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word;
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

fn xml(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service {
            name: "web".into(),
            program: "/usr/bin/pcp-vmm".into(),
            flags: ["--variant", "base", "--append", "a b%c \"$d\" <e>"]
                .map(Into::into)
                .into(),
            after: vec!["db".into()],
            user: Some("anna".into()),
            image: "pcp-vmm".into(),
            sockets: Vec::new(),
            settings: Vec::new(),
        }
    }

    fn text(manager: InitSystem) -> String {
        let pieces = service().pieces(manager);
        pieces
            .iter()
            .map(|it| format!("{}\n{}", it.path, it.text))
            .collect()
    }

    #[test]
    fn each_manager_gets_the_words_in_its_own_quotes_and_the_order() {
        for (manager, words) in [
            (
                InitSystem::Systemd,
                &[
                    "ExecStart=/usr/bin/pcp-vmm run --name web --variant base --append \"a b%%c \\\"$$d\\\" <e>\"",
                    "After=network.target pcp-vmm-db.service",
                    "Requires=pcp-vmm-db.service",
                    "User=anna",
                    "Type=notify",
                ][..],
            ),
            (
                InitSystem::Supervisord,
                &[
                    "[program:pcp-vmm-web]",
                    "'a b%%c \"$d\" <e>'",
                    "priority=110",
                    "user=anna",
                ],
            ),
            (
                InitSystem::Sysvinit,
                &[
                    "# Required-Start:    $remote_fs $network pcp-vmm-db",
                    "--daemon --pid-file /run/pcp-vmm-web.pid",
                ],
            ),
            (
                InitSystem::Bsdrc,
                &["# REQUIRE: NETWORKING pcp_vmm_db", "pcp_vmm_web_start() {"],
            ),
            (
                InitSystem::S6Rc,
                &[
                    "pcp-vmm-web/dependencies.d/pcp-vmm-db",
                    "exec s6-setuidgid anna /usr/bin/pcp-vmm run",
                ],
            ),
            (
                InitSystem::Launchd,
                &[
                    "<string>a b%c \"$d\" &lt;e&gt;</string>",
                    "<key>UserName</key>",
                ],
            ),
            (
                InitSystem::DockerCompose,
                &[
                    "\"a b%c \\\"$$d\\\" <e>\"]",
                    "depends_on: [pcp-vmm-db]",
                    "devices: [\"/dev/kvm\"]",
                ],
            ),
        ] {
            let text = text(manager);
            for word in words {
                assert!(
                    text.contains(word),
                    "{manager:?}: `{word}` is not in\n{text}"
                );
            }
        }
    }

    #[test]
    fn a_setting_replaces_the_usual_one_adds_to_them_or_takes_it_away() {
        let mut service = service();
        service.settings = [
            ("Restart", "no"),
            ("Unit.Requires", ""),
            ("MemoryMax", "2G"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let text = service.systemd();
        assert!(
            text.contains("Restart=no\n") && !text.contains("on-failure"),
            "{text}"
        );
        assert!(
            !text.contains("Requires=") && text.contains("MemoryMax=2G\n"),
            "{text}"
        );
    }

    #[test]
    fn systemd_listens_for_consoles_in_the_vms_place() {
        let mut service = service();
        service.sockets = ["serial=tcp=24500", "virtio=tcp=24501"]
            .map(|it| socket(it).unwrap())
            .into();
        let pieces = service.pieces(InitSystem::Systemd);
        let [unit, sockets] = pieces.as_slice() else {
            panic!("{pieces:?}");
        };
        assert!(
            unit.text
                .contains("--console serial=fd=3 --console virtio=fd=4\n"),
            "{}",
            unit.text
        );
        assert!(!unit.text.contains("WantedBy"));
        assert_eq!(sockets.path, "pcp-vmm-web.socket");
        assert!(sockets.text.contains("ListenStream=127.0.0.1:24501\n"));
    }

    #[test]
    fn the_scripts_are_shell() {
        for manager in [InitSystem::Sysvinit, InitSystem::Bsdrc, InitSystem::S6Rc] {
            for piece in service().pieces(manager).iter().filter(|it| it.executable) {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("script");
                std::fs::write(&path, &piece.text).unwrap();
                let checked = std::process::Command::new("sh")
                    .arg("-n")
                    .arg(&path)
                    .output();
                assert!(checked.unwrap().status.success(), "{}", piece.text);
            }
        }
    }
}
