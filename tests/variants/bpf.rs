//! BPF programs by `exec`, on Debian's kernels of three series, from `pcp-vmm kernel`. The programs are this machine's:
//! bpftrace and libbpf-tools.

use std::process::{Command, Stdio};

use pcp_vmm_tests::program;

/// Prints a line for each kind of program that saw what it should; bpftrace puts blank lines between.
const SCRIPT: &str = r#"
uname -r
trace() { timeout 60 bpftrace "$@" 2>&1 | grep '^seen'; }
trace -e 'BEGIN { printf("seen begin\n"); exit(); }'
trace -c /bin/true -e 'kprobe:do_exit { printf("seen kprobe %s\n", comm); exit(); }'
trace -c /bin/true -e 'tracepoint:syscalls:sys_enter_execve { printf("seen tracepoint\n"); exit(); }'
trace -c /bin/true -e "uprobe:$(ldd /bin/cat | awk '/libc.so/ { print $3 }'):exit { printf(\"seen uprobe %s\n\", comm); exit(); }"
trace -c /bin/false -e 'kfunc:do_exit /comm == "false"/ { printf("seen fentry %d\n", args->code >> 8); exit(); }'
jiffies=$(awk '$3 == "jiffies_64" || $3 == "jiffies" { print $1; exit }' /proc/kallsyms)
trace -e "watchpoint:0x$jiffies:8:w { printf(\"seen watchpoint\n\"); exit(); }"
# A CO-RE program of libbpf's: it is ready when it has seen what it is asked for.
(while :; do /bin/echo >/dev/null; sleep 0.2; done) &
timeout 60 /usr/sbin/execsnoop -n echo 2>/dev/null | awk '$1 == "echo" { print "seen core"; exit }'
kill $!
"#;

/// Runs all kinds of programs on the newest kernel of `series`.
fn on(series: &str) {
    let runtime = tempfile::tempdir().unwrap();
    let mut exec = Command::new(program().unwrap());
    exec.args([
        "exec",
        "--kernel",
        series,
        "--memory",
        "1G",
        "--timeout",
        "400",
    ]);
    exec.arg("--runtime-dir").arg(runtime.path());
    exec.args(["--", "bash", "-c", SCRIPT]).stdin(Stdio::null());
    let output = exec.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let told = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    let mut lines = said.lines();
    let release = lines.next().unwrap();
    assert!(release.starts_with(&format!("{series}.")), "{told}");
    let seen: Vec<_> = lines.collect();
    let expected = [
        "seen begin",
        "seen kprobe true",
        "seen tracepoint",
        "seen uprobe true",
        "seen fentry 1",
        "seen watchpoint",
        "seen core",
    ];
    assert_eq!(seen, expected, "{told}");
}

#[test]
fn programs_of_every_kind_run_on_linux_6_1() {
    on("6.1");
}

#[test]
fn programs_of_every_kind_run_on_linux_6_12() {
    on("6.12");
}

#[test]
fn programs_of_every_kind_run_on_linux_7_2() {
    on("7.2");
}
