//! `scripts/pcp-vmm-ci` and the action around it: what they say of a KVM that cannot be used, and how they pass things on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use pcp_vmm_tests::program;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A program in place of ours: it says what it was told, writes the report of an `exec` and ends as that says.
const PROGRAM: &str = r#"#!/bin/sh
case $1 in doctor) exit 0 ;; kernel) echo "$@" >>"$CALLS"; [ "$2" = add ]; exit ;; esac
printf '<%s>' "$@" >>"$CALLS"
if [ "$1" = exec ]; then
  for word; do [ "$before" = --report ] && report=$word; before=$word; done
  printf '{\n  "boot_ms": 12.5,\n  "reason": "%s",\n  "status": 0\n}\n' "$REASON" >"$report"
fi
if [ -n "$SLEEPS" ]; then trap 'exit 77' TERM; echo sleeps; sleep 60 & wait; fi
cat; exit "$STATUS"
"#;

/// A folder with the program, and the files that GitHub's runner gives.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = Self(folder);
        fs::write(place.path("program"), PROGRAM).unwrap();
        fs::set_permissions(place.path("program"), fs::Permissions::from_mode(0o755)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(top().join("scripts/pcp-vmm-ci"));
        command.args(words).stdin(Stdio::null()).env_clear();
        let variables = [
            ("GITHUB_STEP_SUMMARY", "summary"),
            ("GITHUB_OUTPUT", "output"),
            ("CALLS", "calls"),
            ("PCP_VMM_CI_BINARY", "program"),
        ];
        command.envs(variables.map(|(name, file)| (name, self.path(file))));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("PCP_VMM_CI_DEVICE", "/dev/null");
        command
    }

    fn run(&self, words: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = self.command(words);
        command.envs(variables.iter().copied()).output().unwrap()
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_device_that_is_not_there_or_none_is_told_with_its_remedy() {
    let place = Place::new();
    let file = place.path("file");
    fs::write(&file, "").unwrap();
    for (device, cause) in [
        ("/nowhere/kvm", "there is no `/nowhere/kvm`"),
        (file.to_str().unwrap(), "is no device"),
    ] {
        let output = place.run(&["--verb", "check", "--device", device], &[]);
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains(cause) && said.contains("\nhint: "), "{said}");
        assert!(place.read("summary").contains(cause));
        assert!(place.read("output").contains("status=125\n"));
    }
    assert_eq!(place.read("calls"), "", "nothing was run");
}

#[test]
fn a_device_that_may_not_be_opened_is_told_with_its_remedy() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only the superuser can make a device; nothing is tested");
        return;
    }
    let place = Place::new();
    let script = "mkdir $D/dev; mount -t tmpfs tmpfs $D/dev; mknod -m 600 $D/dev/kvm c 1 3\n\
        exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\" --verb check --device $D/dev/kvm";
    let ci = top().join("scripts/pcp-vmm-ci");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-ec", script, "sh", "sh"])
        .arg(ci);
    let output = command.env("D", place.path("")).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("may not open"), "{said}");
    assert!(
        said.contains("/etc/udev/rules.d") && said.contains("--setup-kvm"),
        "{said}"
    );
}

#[test]
fn whether_kvm_can_run_guests_is_what_the_program_finds() {
    let program = program().unwrap();
    let doctor = Command::new(&program)
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|it| it["state"] == "fail");
    let failed = failed.filter(|it| it["name"].as_str().unwrap().starts_with("kvm"));
    let message = failed.map(|it| it["message"].as_str().unwrap()).next();
    let place = Place::new();
    let binary = program.to_str().unwrap();
    let words = [
        "--verb", "check", "--device", "/dev/kvm", "--binary", binary,
    ];
    let output = place.run(&words, &[]);
    let said = text(&output.stderr);
    match message {
        None => assert_eq!(output.status.code(), Some(0), "{said}"),
        Some(message) => {
            assert_eq!(output.status.code(), Some(125), "{said}");
            assert!(said.contains(message), "{said}");
        }
    }
}

#[test]
fn the_status_is_the_commands_and_the_summary_tells_it() {
    let place = Place::new();
    for (status, reason) in [
        ("0", "exited"),
        ("7", "exited"),
        ("124", "timeout"),
        ("137", "signalled"),
    ] {
        let variables = [("STATUS", status), ("REASON", reason)];
        let words = [
            "--kernel",
            "./bzImage",
            "--arguments",
            "--memory 1G --cpus 2",
            "--",
            "a b",
            "c",
        ];
        let output = place.run(&words, &variables);
        assert_eq!(output.status.code(), status.parse().ok(), "{output:?}");
        let told = format!("status={status}\nreason={reason}\n");
        assert!(
            place.read("output").contains(&told),
            "{}",
            place.read("output")
        );
        assert!(
            place
                .read("summary")
                .contains(&format!("| reason | {reason} |"))
        );
    }
    let calls = place.read("calls");
    assert!(
        calls.starts_with("<exec><--kernel><./bzImage><--report></"),
        "{calls}"
    );
    let rest = "><--memory><1G><--cpus><2><--><a b><c>";
    assert!(calls.contains(rest), "{calls}");

    let words = [
        "--command",
        "echo $HOME | cat",
        "--kernel",
        "6.12",
        "--mirror",
        "file:///m",
    ];
    let output = place.run(&words, &[("STATUS", "0"), ("REASON", "exited")]);
    assert!(output.status.success(), "{output:?}");
    let calls = place.read("calls");
    assert!(
        calls.contains("kernel show 6.12\nkernel add 6.12 --mirror file:///m\n"),
        "{calls}"
    );
    assert!(
        calls.ends_with("><--><sh><-c><echo $HOME | cat>"),
        "{calls}"
    );

    let words = ["--verb", "lifecycle", "--arguments", "--variant base"];
    let output = place.run(&words, &[("STATUS", "1")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        place
            .read("calls")
            .ends_with("<lifecycle><test><--variant><base>")
    );
    assert!(place.read("output").ends_with("reason=failed\nseconds=0\n"));
}

#[test]
fn without_the_program_it_is_built_from_the_checkout() {
    let place = Place::new();
    fs::create_dir(place.path("tools")).unwrap();
    let cargo = place.path("tools/cargo");
    let build = "#!/bin/sh\necho \"$PWD: $@\" >>\"$CALLS\"; [ \"$STATUS\" = 0 ] || exit 1\n\
        mkdir -p \"$CARGO_TARGET_DIR/release\"; cp \"$PROGRAM\" \"$CARGO_TARGET_DIR/release/pcp-vmm\"\n";
    fs::write(&cargo, build).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |status: &str| {
        let mut command = place.command(&["--", "x"]);
        command
            .env_remove("PCP_VMM_CI_BINARY")
            .env("STATUS", status);
        command.env("PROGRAM", place.path("program"));
        command.env("CARGO_TARGET_DIR", place.path("target"));
        let tools = place.path("tools").display().to_string();
        let output = command
            .env("PATH", format!("{tools}:/usr/bin:/bin"))
            .output();
        output.unwrap()
    };
    let failed = run("1");
    assert_eq!(failed.status.code(), Some(125), "{failed:?}");
    assert!(
        text(&failed.stderr).contains("cargo ended with 1"),
        "{failed:?}"
    );
    let built = run("0");
    assert!(built.status.success(), "{built:?}");
    let call = format!(
        "{}: build --release --locked --package pcp-vmm-cli\n<exec>",
        top().display()
    );
    assert!(
        place.read("calls").contains(&call),
        "{}",
        place.read("calls")
    );
}

#[test]
fn signals_and_input_reach_the_command() {
    let place = Place::new();
    let mut command = place.command(&["--", "x"]);
    command.env("SLEEPS", "1").stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = [0; 7];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"sleeps\n");
    // The shell may be about to wait.
    std::thread::sleep(Duration::from_millis(200));
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(77));

    fs::write(place.path("input"), "from the caller").unwrap();
    let input = fs::File::open(place.path("input")).unwrap();
    let mut command = place.command(&["--", "x"]);
    let output = command.env("STATUS", "0").stdin(input).output().unwrap();
    assert_eq!(text(&output.stdout), "from the caller");
}

#[test]
fn a_wrong_command_line_is_told_and_nothing_runs() {
    let place = Place::new();
    for (words, cause) in [
        (&["--bogus"][..], "`--bogus`"),
        (&["--verb"], "has no value"),
        (&["--verb", "run"], "--verb run"),
        (&[], "no command"),
        (&["--command", "a", "--", "b"], "both"),
        (&["--verb", "lifecycle", "--", "b"], "are for `--verb exec`"),
        (&["--setup-kvm", "yes", "--", "b"], "neither true nor false"),
    ] {
        let output = place.run(words, &[]);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let said = text(&output.stderr);
        assert!(said.contains(cause), "{said}");
    }
    assert_eq!(place.read("calls"), "");
}

#[test]
fn the_actions_inputs_are_the_scripts_flags() {
    let action = top().join(".github/actions/pcp-vmm/action.yml");
    let parse = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let output = Command::new("/usr/bin/python3")
        .args(["-c", parse])
        .arg(action)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let action: Value = serde_json::from_slice(&output.stdout).unwrap();
    let inputs: Vec<&String> = action["inputs"].as_object().unwrap().keys().collect();

    let help = Command::new(top().join("scripts/pcp-vmm-ci"))
        .arg("--help")
        .output()
        .unwrap();
    let help = text(&help.stdout);
    let flags = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"));
    let flags = flags.filter_map(|line| line.split(' ').next());
    let mut flags: Vec<&str> = flags.filter(|it| *it != "help").collect();
    flags.sort_unstable();
    assert_eq!(inputs, flags);

    let step = &action["runs"]["steps"][0];
    let given = step["env"].as_object().unwrap();
    assert_eq!(given.len(), flags.len());
    for flag in flags {
        let variable = format!("PCP_VMM_CI_{}", flag.to_uppercase().replace('-', "_"));
        assert!(help.contains(&variable), "{variable}");
        assert_eq!(given[&variable], format!("${{{{ inputs.{flag} }}}}"));
    }
    for (name, output) in action["outputs"].as_object().unwrap() {
        let value = format!(
            "${{{{ steps.{}.outputs.{name} }}}}",
            step["id"].as_str().unwrap()
        );
        assert_eq!(output["value"], value);
        assert!(
            fs::read_to_string(top().join("scripts/pcp-vmm-ci"))
                .unwrap()
                .contains(&format!("output {name} "))
        );
    }
    let run = step["run"].as_str().unwrap();
    let script = run
        .rsplit_once("$GITHUB_ACTION_PATH")
        .unwrap()
        .1
        .trim_end_matches('"');
    let script = top()
        .join(".github/actions/pcp-vmm")
        .join(script.trim_start_matches('/'));
    assert_eq!(
        fs::canonicalize(script).unwrap(),
        top().join("scripts/pcp-vmm-ci")
    );
}

#[test]
fn the_script_is_clean() {
    let mut check = Command::new("shellcheck");
    let output = check
        .arg(top().join("scripts/pcp-vmm-ci"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stdout));
}
