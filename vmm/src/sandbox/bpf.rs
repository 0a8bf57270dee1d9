//! From allow lists to the classic BPF that the kernel runs at each system call (Linux
//! Documentation/userspace-api/seccomp_filter.rst).
//!
//! The numbers are searched in a binary tree of ranges, and the programs kept short: the kernel
//! translates a new filter and runs it once for every call that there is, to know which need no
//! second look, so each instruction shows in the start-up time.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, sock_filter,
};

use super::call::{Answer, Call, Test};

/// What becomes of a call that no line fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// The thread gets SIGSYS, whose handler ends the process.
    Trap,
    /// The kernel's audit log gets a line.
    Log,
}

/// A filter, ready for the kernel.
pub(super) type Program = Vec<sock_filter>;

/// `AUDIT_ARCH_X86_64` (Linux `include/uapi/linux/audit.h`).
const ARCH: u32 = 0xc000_003e;
/// The first number of the x32 ABI, which nothing here uses.
const X32: u32 = 0x4000_0000;
/// Offsets in `seccomp_data` (Linux `include/uapi/linux/seccomp.h`).
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

/// Compiles a list for a thread of this process.
pub(super) fn compile(calls: &[Call], otherwise: Otherwise) -> Program {
    let otherwise = match otherwise {
        Otherwise::Trap => libc::SECCOMP_RET_TRAP,
        Otherwise::Log => libc::SECCOMP_RET_LOG,
    };
    let mut calls = calls.to_vec();
    // What one list refuses, another may allow.
    calls.sort_by_key(|call| {
        let refused = call.answer != Answer::Allow;
        (call.number, refused, !call.when.is_empty())
    });
    let mut code = Backwards::new(otherwise);
    let tree = code.tree(&ranges(&calls, otherwise));
    let x32 = code.answer(otherwise);
    code.branch(BPF_JGE, X32, x32, tree);
    let number = code.push(load(NUMBER_AT));
    let foreign = code.answer(SECCOMP_RET_KILL_PROCESS);
    code.branch(BPF_JEQ, ARCH, number, foreign);
    code.push(load(ARCH_AT));
    code.instructions.reverse();
    code.instructions
}

/// What becomes of the calls of a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate<'a> {
    /// All get this answer.
    Answer(u32),
    /// It hangs on the arguments: the lines of one number.
    Lines(&'a [Call]),
}

/// All numbers, as ranges with one fate each; a range ends where the next begins.
fn ranges(sorted: &[Call], otherwise: u32) -> Vec<(u32, Fate<'_>)> {
    let mut ranges = vec![(0, Fate::Answer(otherwise))];
    let mut add = |from: u32, fate| match ranges.last_mut() {
        Some((_, last)) if *last == fate && matches!(fate, Fate::Answer(_)) => {}
        Some((start, last)) if *start == from => *last = fate,
        _ => ranges.push((from, fate)),
    };
    for lines in sorted.chunk_by(|a, b| a.number == b.number) {
        let Some(first) = lines.first() else {
            continue;
        };
        let fate = match first.when {
            [] => Fate::Answer(value(first.answer)),
            _ => Fate::Lines(lines),
        };
        add(first.number, fate);
        add(first.number + 1, Fate::Answer(otherwise));
    }
    ranges
}

fn value(answer: Answer) -> u32 {
    match answer {
        Answer::Allow => SECCOMP_RET_ALLOW,
        Answer::Refuse(errno) => SECCOMP_RET_ERRNO | u32::from(errno),
    }
}

/// A place in a program, counted from its end.
#[derive(Debug, Clone, Copy)]
struct Place(usize);

/// The farthest that a conditional jump is used for; it could skip 255.
const NEAR: usize = 250;

/// A program that is written from its end to its beginning: jumps lead onwards only, so where
/// they lead is known, and equal ends are shared.
#[derive(Debug)]
struct Backwards {
    instructions: Program,
    /// The values that are answered, each with the last place to do it.
    answers: Vec<(u32, Place)>,
    otherwise: u32,
}

impl Backwards {
    fn new(otherwise: u32) -> Self {
        Self {
            instructions: Vec::with_capacity(256),
            answers: Vec::new(),
            otherwise,
        }
    }

    /// Puts `instruction` before all that is there.
    fn push(&mut self, instruction: sock_filter) -> Place {
        self.instructions.push(instruction);
        Place(self.instructions.len() - 1)
    }

    /// How many instructions one that is put before all others skips to come to `place`.
    fn skips(&self, place: Place) -> usize {
        self.instructions.len() - 1 - place.0
    }

    /// A place that answers `value`.
    fn answer(&mut self, value: u32) -> Place {
        let known = self.answers.iter().find(|(known, _)| *known == value);
        if let Some((_, place)) = known
            && self.skips(*place) < NEAR
        {
            return *place;
        }
        let place = self.push(statement(BPF_RET | BPF_K, value));
        self.answers.retain(|(known, _)| *known != value);
        self.answers.push((value, place));
        place
    }

    /// `place`, or one nearer that leads there.
    fn near(&mut self, place: Place) -> Place {
        match self.skips(place) {
            ..NEAR => place,
            far => self.push(statement(
                BPF_JMP | BPF_JA,
                u32::try_from(far).unwrap_or(u32::MAX),
            )),
        }
    }

    /// Goes to `then` if the accumulator compares with `to` so, else to `or`.
    fn branch(&mut self, comparison: u32, to: u32, then: Place, or: Place) -> Place {
        let (then, or) = (self.near(then), self.near(or));
        let skip = |place| u8::try_from(self.skips(place)).unwrap_or(u8::MAX);
        let (jt, jf) = (skip(then), skip(or));
        self.push(sock_filter {
            code: (BPF_JMP | comparison | BPF_K) as u16,
            jt,
            jf,
            k: to,
        })
    }

    /// Finds the range of the number in the accumulator.
    fn tree(&mut self, ranges: &[(u32, Fate<'_>)]) -> Place {
        let (left, right) = ranges.split_at(ranges.len() / 2);
        match (left, right) {
            (_, []) => self.answer(self.otherwise),
            ([], [(_, Fate::Answer(value)), ..]) => self.answer(*value),
            ([], [(_, Fate::Lines(lines)), ..]) => self.lines(lines),
            (left, [(from, _), ..]) => {
                let right = self.tree(right);
                let left = self.tree(left);
                self.branch(BPF_JGE, *from, right, left)
            }
        }
    }

    /// The answer of the first line that fits.
    fn lines(&mut self, lines: &[Call]) -> Place {
        let mut next = self.answer(self.otherwise);
        for line in lines.iter().rev() {
            let mut then = self.answer(value(line.answer));
            for test in line.when.iter().rev() {
                then = self.test(*test, then, next);
            }
            next = then;
        }
        next
    }

    fn test(&mut self, test: Test, then: Place, or: Place) -> Place {
        match test {
            Test::Is(argument, value) => {
                self.branch(BPF_JEQ, value, then, or);
                self.push(load(low(argument)))
            }
            Test::OwnProcess(argument) => {
                self.test(Test::Is(argument, std::process::id()), then, or)
            }
            Test::Bits(argument, mask, value) => {
                self.branch(BPF_JEQ, value, then, or);
                self.push(statement(BPF_ALU | BPF_AND | BPF_K, mask));
                self.push(load(low(argument)))
            }
            Test::Null(argument) => {
                self.branch(BPF_JEQ, 0, then, or);
                let high = self.push(load(low(argument) + 4));
                self.branch(BPF_JEQ, 0, high, or);
                self.push(load(low(argument)))
            }
        }
    }
}

fn low(argument: u8) -> u32 {
    ARGUMENTS_AT + 8 * u32::from(argument)
}

fn load(at: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, at)
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::{any, refuse, when};
    use super::super::roles::Role;
    use super::super::tests::spec;
    use super::*;
    use crate::sandbox::SandboxMode;

    const TRAP: u32 = libc::SECCOMP_RET_TRAP;

    /// Runs `program` as the kernel does.
    fn run(program: &[sock_filter], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = vec![number, arch, 0, 0];
        data.extend(
            arguments
                .iter()
                .flat_map(|a| [*a as u32, (*a >> 32) as u32]),
        );
        let (mut accumulator, mut at) = (0, 0);
        loop {
            let op = program[at];
            at += 1;
            match u32::from(op.code) {
                c if c == BPF_LD | BPF_W | BPF_ABS => accumulator = data[op.k as usize / 4],
                c if c == BPF_ALU | BPF_AND | BPF_K => accumulator &= op.k,
                c if c == BPF_JMP | BPF_JA => at += op.k as usize,
                c if c == BPF_JMP | BPF_JEQ | BPF_K => {
                    at += usize::from(if accumulator == op.k { op.jt } else { op.jf });
                }
                c if c == BPF_JMP | BPF_JGE | BPF_K => {
                    at += usize::from(if accumulator >= op.k { op.jt } else { op.jf });
                }
                c if c == BPF_RET | BPF_K => return op.k,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    fn answers(calls: &[Call], number: u32, arguments: [u64; 6]) -> u32 {
        run(&compile(calls, Otherwise::Trap), ARCH, number, arguments)
    }

    #[test]
    fn every_number_of_a_list_is_allowed_and_no_other() {
        for count in [0, 1, 2, 3, 8, 200] {
            let calls: Vec<_> = (0..count).map(|n| any(2 * n + 1)).collect();
            for number in 0..=2 * count as u32 + 2 {
                let listed = number % 2 == 1 && number < 2 * count as u32;
                let expected = if listed { SECCOMP_RET_ALLOW } else { TRAP };
                assert_eq!(
                    answers(&calls, number, [0; 6]),
                    expected,
                    "{count} {number}"
                );
            }
        }
    }

    #[test]
    fn one_fitting_line_is_enough_and_every_condition_of_it_needed() {
        let calls = [
            when(16, &[Test::Is(1, 7), Test::Bits(2, 6, 4)]),
            when(16, &[Test::Is(1, 9)]),
            any(17),
        ];
        let answer = |arguments| answers(&calls, 16, arguments);
        assert_eq!(answer([0, 7, 5, 0, 0, 0]), SECCOMP_RET_ALLOW);
        assert_eq!(answer([0, 7, 6, 0, 0, 0]), TRAP);
        assert_eq!(answer([0, 9, 6, 0, 0, 0]), SECCOMP_RET_ALLOW);
        assert_eq!(answer([0, 8, 4, 0, 0, 0]), TRAP);
    }

    #[test]
    fn a_line_for_the_own_process_fits_no_other() {
        let calls = [when(234, &[Test::OwnProcess(0)])];
        let own = u64::from(std::process::id());
        let answer = |process| answers(&calls, 234, [process, 7, 0, 0, 0, 0]);
        assert_eq!(answer(own), SECCOMP_RET_ALLOW);
        for other in [0, 1, own + 1, own ^ 1, u64::from(u32::MAX)] {
            assert_eq!(answer(other), TRAP, "{other}");
        }
    }

    #[test]
    fn no_filter_lets_a_signal_to_another_process_through() {
        let spec = spec("/nonexistent".as_ref(), SandboxMode::On);
        let own = u64::from(std::process::id());
        for role in Role::ALL {
            let calls = role.calls(&spec);
            let answer = |number: libc::c_long, process| {
                answers(&calls, number as u32, [process, process, 0, 0, 0, 0])
            };
            let to_self = answer(libc::SYS_tgkill, own) == SECCOMP_RET_ALLOW;
            assert_eq!(to_self, role == Role::Main, "{role:?}");
            for process in [own + 1, 1, 0, u64::MAX] {
                for number in [
                    libc::SYS_tgkill,
                    libc::SYS_tkill,
                    libc::SYS_kill,
                    libc::SYS_rt_sigqueueinfo,
                    libc::SYS_rt_tgsigqueueinfo,
                    libc::SYS_pidfd_send_signal,
                ] {
                    let answer = answer(number, process);
                    assert_ne!(answer, SECCOMP_RET_ALLOW, "{role:?} {number} {process}");
                }
            }
        }
    }

    #[test]
    fn a_null_pointer_has_two_empty_halves() {
        let calls = [when(44, &[Test::Null(4), Test::Is(0, 3)])];
        let answer = |pointer| answers(&calls, 44, [3, 0, 0, 0, pointer, 0]);
        assert_eq!(answer(0), SECCOMP_RET_ALLOW);
        assert_eq!(answer(1), TRAP);
        assert_eq!(answer(1 << 32), TRAP);
    }

    #[test]
    fn a_refusal_is_an_error_number() {
        let calls = [refuse(435, libc::ENOSYS)];
        assert_eq!(answers(&calls, 435, [0; 6]), SECCOMP_RET_ERRNO | 38);
    }

    #[test]
    fn a_call_that_one_line_allows_is_not_refused_by_another() {
        for calls in [
            [refuse(200, libc::EPERM), any(200)],
            [any(200), refuse(200, libc::EPERM)],
        ] {
            assert_eq!(answers(&calls, 200, [0; 6]), SECCOMP_RET_ALLOW);
        }
        let calls = [refuse(16, libc::EPERM), when(16, &[Test::Is(1, 7)])];
        assert_eq!(answers(&calls, 16, [0, 7, 0, 0, 0, 0]), SECCOMP_RET_ALLOW);
        assert_eq!(
            answers(&calls, 16, [0, 8, 0, 0, 0, 0]),
            SECCOMP_RET_ERRNO | 1
        );
    }

    #[test]
    fn a_program_longer_than_a_jump_reaches_is_right() {
        const TESTS: [Test; 2] = [Test::Is(1, 7), Test::Null(2)];
        let calls: Vec<_> = (0..200)
            .map(|n| match n % 4 {
                0 => any(3 * n),
                1 => refuse(3 * n, n as i32),
                _ => when(3 * n, &TESTS),
            })
            .collect();
        assert!(compile(&calls, Otherwise::Trap).len() > 3 * usize::from(u8::MAX));
        for n in 0..200_u32 {
            let answer = |second, third| answers(&calls, 3 * n, [0, second, third, 0, 0, 0]);
            let [fits, other, high] = match n % 4 {
                0 => [SECCOMP_RET_ALLOW; 3],
                1 => [SECCOMP_RET_ERRNO | n; 3],
                _ => [SECCOMP_RET_ALLOW, TRAP, TRAP],
            };
            assert_eq!(answer(7, 0), fits, "{n}");
            assert_eq!(answer(8, 0), other, "{n}");
            assert_eq!(answer(7, 1 << 32), high, "{n}");
            for between in [3 * n + 1, 3 * n + 2] {
                assert_eq!(answers(&calls, between, [0, 7, 0, 0, 0, 0]), TRAP);
            }
        }
    }

    #[test]
    fn other_processors_calls_are_fatal_and_x32_is_not_allowed() {
        let program = compile(&[any(1)], Otherwise::Log);
        assert_eq!(
            run(&program, 0x4000_0003, 1, [0; 6]),
            SECCOMP_RET_KILL_PROCESS
        );
        assert_eq!(run(&program, ARCH, X32 | 1, [0; 6]), libc::SECCOMP_RET_LOG);
        assert_eq!(run(&program, ARCH, 1, [0; 6]), SECCOMP_RET_ALLOW);
    }
}
