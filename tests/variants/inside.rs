//! Commands in a guest that runs already, beside what it does by itself.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pcp_vmm_tests::{program, time};
use rustix::process::{Pid, Signal};

use super::Variant;
use super::exec::Place;

/// How many random commands are compared; `PCP_VMM_CASES` asks for another number.
const CASES: u32 = 60;

/// `exec --in` the guest, ready to be given streams.
fn exec(guest: &Variant, flags: &[&str], command: &[&str]) -> Command {
    let mut exec = Command::new(program().unwrap());
    exec.arg("--runtime-dir").arg(guest.vm.instances());
    exec.args(["exec", "--in", "base"]).args(flags);
    exec.arg("--").args(command);
    exec
}

/// The end of `command` with `input`, as a shell has it, and its two streams.
fn outcome(mut command: Command, input: &[u8]) -> (i32, Output) {
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = streams.stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command need not read what it is given.
    let writer = thread::spawn(move || {
        let _ = pipe.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let status = output.status;
    let code = status.code().or(status.signal().map(|it| 128 + it));
    (code.unwrap(), output)
}

/// Numbers that are the same in every run from one seed (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// A size: small mostly, seldom up to `most`.
    fn size(&mut self, most: u64) -> u64 {
        let bits = self.below(100);
        match bits {
            0 => self.below(most),
            1..5 => self.below(1 << 20),
            5..30 => self.below(100_000),
            _ => self.below(300),
        }
    }
}

/// A command for the shell.
struct Case {
    script: String,
    words: Vec<String>,
    variable: String,
    input: Vec<u8>,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let mut script = String::new();
        for stream in ["", " >&2"] {
            let size = random.size(50_000_000);
            let bytes = match random.below(3) {
                0 => "yes 'a line that says little'".to_owned(),
                1 => "yes ''".to_owned(),
                // Every byte there is, and no line's end for long.
                _ => format!(
                    "yes '{}' | tr '~!@#$%^&*_' '\\000\\001\\002\\003\\377\\200\\033\\n\\r\\t'",
                    "~!@#$%^&*_x".repeat(1 + random.below(20) as usize)
                ),
            };
            script += &format!("{{ {bytes} 2>/dev/null | head -c {size}; }}{stream}\n");
        }
        script += match random.below(7) {
            0 => "exec <&-\n",
            1 => "cat\n",
            2 => "head -c 10; exec <&-\n",
            3 => "sleep 60 <&- >/dev/null 2>&1 &\n",
            4 => "exec >&-; echo nobody reads this 2>/dev/null\n",
            5 => "printf '%s ' \"$#\"; printf '%s' \"$@\" | cksum\n",
            _ => "printf %s \"$VARIABLE\" | cksum\n",
        };
        script += &match random.below(3) {
            0 => format!(
                "kill -{} $$\n",
                [1, 2, 3, 6, 9, 10, 11, 13, 14, 15][random.below(10) as usize]
            ),
            1 => String::new(),
            _ => format!("exit {}\n", random.below(256)),
        };
        let word = "ab cd\n'\"$*".repeat(1 + random.below(40) as usize);
        let words = (0..random.size(2_000)).map(|n| format!("{n}{word}"));
        let mut room = 1_000_000;
        let words = words.take_while(|word| {
            room -= word.len() as i64 + 9;
            room > 0
        });
        Self {
            script,
            words: words.collect(),
            variable: "v=ä\n".repeat(random.below(20_000) as usize),
            input: (0..random.size(3_000_000)).map(|n| (n * 7) as u8).collect(),
        }
    }

    fn check(&self, guest: &Variant) -> Result<(), String> {
        let mut native = Command::new("sh");
        native.arg("-c").arg(&self.script).arg("sh");
        native.args(&self.words).env("VARIABLE", &self.variable);
        let variable = format!("VARIABLE={}", self.variable);
        let head = ["sh", "-c", &self.script, "sh"];
        let words: Vec<&str> = head
            .into_iter()
            .chain(self.words.iter().map(String::as_str))
            .collect();
        let ours = exec(guest, &["--env", &variable], &words);
        let (code, out) = outcome(native, &self.input);
        let (our_code, our_out) = outcome(ours, &self.input);
        if (code, &out.stdout, &out.stderr) == (our_code, &our_out.stdout, &our_out.stderr) {
            return Ok(());
        }
        let sizes = |it: &Output| (it.stdout.len(), it.stderr.len());
        let said = String::from_utf8_lossy(&our_out.stderr);
        Err(format!(
            "{}with {} words, a variable of {} bytes and {} bytes of input: {code} {:?}, in the guest {our_code} {:?}, the end {:?}",
            self.script,
            self.words.len(),
            self.variable.len(),
            self.input.len(),
            sizes(&out),
            sizes(&our_out),
            said.chars()
                .rev()
                .take(200)
                .collect::<Vec<_>>()
                .iter()
                .rev()
                .collect::<String>(),
        ))
    }
}

#[test]
fn random_commands_in_a_guest_end_as_they_do_without_one() {
    let guest = Variant::start("base", 22022);
    let cases = std::env::var("PCP_VMM_CASES").map_or(CASES, |number| number.parse().unwrap());
    let seed = std::env::var("PCP_VMM_SEED").map_or_else(
        |_| u64::from(std::process::id()),
        |seed| seed.parse().unwrap(),
    );
    let mut random = Random(seed);
    let wrong: Vec<String> = (0..cases)
        .filter_map(|number| {
            let case = Case::random(&mut random).check(&guest);
            case.err().map(|why| format!("case {number}: {why}"))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} of {cases} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    guest.power_off();
}

#[test]
fn many_at_once_have_their_own_ends_and_who_goes_away_takes_its_command_along() {
    let guest = Variant::start("base", 22022);
    let several: Vec<_> = (1..=8_u8)
        .map(|number| {
            let script = format!("read word; echo $word {number}; exit {number}");
            let mut exec = exec(&guest, &[], &["sh", "-c", &script]);
            let streams = exec.stdin(Stdio::piped()).stdout(Stdio::piped());
            (i32::from(number), streams.spawn().unwrap())
        })
        .collect();
    for (number, mut child) in several.into_iter().rev() {
        child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(number));
        assert_eq!(output.stdout, format!("hello {number}\n").into_bytes());
    }
    // The caller is killed; its command ends.
    let mut lasting = exec(&guest, &[], &["sleep", "54321"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    guest.until("pgrep -f 'sleep 5432[1]'");
    lasting.kill().unwrap();
    lasting.wait().unwrap();
    guest.until("! pgrep -f 'sleep 5432[1]'");
    // It left no socket in the VM's folder.
    let folder = guest.vm.instances();
    assert!(!named(&folder.join("pcp-vm"), "vsock_"));
    let (code, late) = outcome(exec(&guest, &["--timeout", "2"], &["sleep", "54321"]), b"");
    assert_eq!(code, 124, "{late:?}");
    let (code, none) = outcome(exec(&guest, &["--cwd", "/nowhere"], &["true"]), b"");
    assert_eq!(code, 126, "{none:?}");
    // The guest ends under a command.
    let begin = Instant::now();
    let script = "systemctl poweroff --force --force; sleep 1000";
    let (code, lost) = outcome(exec(&guest, &[], &["sh", "-c", script]), b"");
    assert_eq!(code, 125, "{lost:?}");
    assert!(begin.elapsed() < time::limit(30) + Duration::from_secs(5));
    let said = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert!(said.contains("the VM ended before"), "{said}");
    guest.vm.wait(20).unwrap();
    assert!(!folder.join("pcp-vm").exists());
}

fn named(folder: &Path, start: &str) -> bool {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names = entries.map(|entry| entry.unwrap().file_name());
    names.any(|name| name.to_string_lossy().starts_with(start))
}

#[test]
fn an_agent_that_was_put_into_another_guest_takes_commands() {
    let place = Place::new();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let agent = folder.path().join("agent");
    let mut write = Command::new(program().unwrap());
    let written = write.args(["agent", "--program"]).arg(&agent).status();
    assert!(written.unwrap().success());
    // A guest whose first process is not the one of images: nothing listens there by itself.
    let words = [agent.to_str().unwrap(), "agent"];
    let mut guest = place
        .exec(&[], &words)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let name = format!("exec-{}", guest.id());
    let ask = |script: &str| {
        let mut ask = Command::new(program().unwrap());
        ask.arg("--runtime-dir").arg(place.folder().join("running"));
        ask.args(["exec", "--in", &name, "--", "sh", "-c", script]);
        outcome(ask, b"carried")
    };
    time::wait_until("the agent", 60, || ask("exit 6").0 == 6).unwrap();
    let (status, output) = ask("cat; echo apart >&2; exit 7");
    assert_eq!(status, 7);
    assert_eq!(output.stdout, b"carried");
    assert_eq!(output.stderr, b"apart\n");
    rustix::process::kill_process(Pid::from_child(&guest), Signal::TERM).unwrap();
    assert_eq!(guest.wait().unwrap().code(), Some(128 + 15));
    place.is_clean();
}
