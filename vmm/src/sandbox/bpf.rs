//! From allow lists to the classic BPF that the kernel runs at each system call (Linux
//! Documentation/userspace-api/seccomp_filter.rst).
//!
//! The numbers are searched in a binary tree: the kernel runs a new filter once for every call that
//! there is, to know which need no second look, so a chain of comparisons would show in the start-up
//! time.

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

/// Compiles a list.
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
    let groups: Vec<&[Call]> = calls.chunk_by(|a, b| a.number == b.number).collect();
    let mut program = vec![
        load(ARCH_AT),
        jump(BPF_JEQ, ARCH, 1, 0),
        answer(SECCOMP_RET_KILL_PROCESS),
        load(NUMBER_AT),
        jump(BPF_JGE, X32, 0, 1),
        answer(otherwise),
    ];
    program.extend(tree(&groups, otherwise));
    program
}

fn tree(groups: &[&[Call]], otherwise: u32) -> Program {
    let (left, right) = groups.split_at(groups.len() / 2);
    match (left, right.first().and_then(|group| group.first())) {
        (_, None) => vec![answer(otherwise)],
        ([], Some(call)) => {
            let mut leaf = vec![jump(BPF_JEQ, call.number, 1, 0), answer(otherwise)];
            for call in right.iter().copied().flatten() {
                leaf.extend(line(call));
            }
            leaf.push(answer(otherwise));
            leaf
        }
        (left, Some(middle)) => {
            let left = tree(left, otherwise);
            let mut node = vec![jump(BPF_JGE, middle.number, 0, 1), skip(left.len())];
            node.extend(left);
            node.extend(tree(right, otherwise));
            node
        }
    }
}

/// Answers if all conditions hold, else runs on behind itself.
fn line(call: &Call) -> Program {
    let value = match call.answer {
        Answer::Allow => SECCOMP_RET_ALLOW,
        Answer::Refuse(errno) => SECCOMP_RET_ERRNO | u32::from(errno),
    };
    let mut code = vec![answer(value)];
    for test in call.when.iter().rev() {
        let test = condition(*test, code.len());
        code.splice(0..0, test);
    }
    code
}

/// Goes on behind itself if `test` holds, else skips `rest` instructions more.
fn condition(test: Test, rest: usize) -> Program {
    let rest = u8::try_from(rest).unwrap_or(u8::MAX);
    match test {
        Test::Is(argument, value) => vec![load(low(argument)), jump(BPF_JEQ, value, 0, rest)],
        Test::Bits(argument, mask, value) => vec![
            load(low(argument)),
            statement(BPF_ALU | BPF_AND | BPF_K, mask),
            jump(BPF_JEQ, value, 0, rest),
        ],
        Test::Null(argument) => vec![
            load(low(argument)),
            jump(BPF_JEQ, 0, 0, rest.saturating_add(2)),
            load(low(argument) + 4),
            jump(BPF_JEQ, 0, 0, rest),
        ],
    }
}

fn low(argument: u8) -> u32 {
    ARGUMENTS_AT + 8 * u32::from(argument)
}

fn load(at: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, at)
}

fn answer(value: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, value)
}

fn skip(count: usize) -> sock_filter {
    statement(BPF_JMP | BPF_JA, u32::try_from(count).unwrap_or(u32::MAX))
}

fn jump(kind: u32, value: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: (BPF_JMP | kind | BPF_K) as u16,
        jt,
        jf,
        k: value,
    }
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
    use super::*;

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
