use super::*;

fn problems(text: &str) -> Vec<String> {
    parse(text).unwrap_err()
}

#[test]
fn a_whole_file_is_read() {
    let text = r#"
command = "make test"
kernels = ["6.1", "host"]
memory = "1G"
flags = ["--net", "none"]
timeout = 90.5
retries = 2
[variant.big]
memory = "4G"
cpus = 4
[parameters]
N = [1, 2]
MODE = ["fast"]
[[exclude]]
kernel = "6.1"
N = 2
[budget]
memory = "8G"
cpus = 8
"#;
    let matrix = parse(text).unwrap();
    assert_eq!(matrix.command, ["sh", "-c", "make test"]);
    assert_eq!(matrix.kernels, ["6.1", "host"]);
    assert_eq!(matrix.machine.memory, Some(1 << 30));
    assert_eq!(matrix.machine.flags, ["--net", "none"]);
    assert_eq!((matrix.timeout, matrix.retries), (90.5, 2));
    assert_eq!(matrix.variants["big"].cpus, Some(4));
    assert_eq!(matrix.parameters["N"], ["1", "2"]);
    let meant = [("N", "2"), ("kernel", "6.1")];
    assert_eq!(
        matrix.exclude,
        [meant
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()]
    );
    assert_eq!(matrix.budget.memory, Some(8 << 30));
}

#[test]
fn the_least_is_a_command() {
    let matrix = parse("command = ['true']").unwrap();
    assert_eq!(matrix.kernels, ["host"]);
    assert_eq!(matrix.budget, Budget::default());
}

#[test]
fn what_is_no_toml_is_told_with_line_and_column() {
    let told = problems("command = ['true']\nkernels = [\"6.1\"\nmemory = 5 5\n");
    assert!(told.iter().all(|it| it.starts_with(['2', '3'])), "{told:?}");
    assert!(told.len() > 1, "{told:?}");
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "\
kernel = ['6.1']
command = []
retries = -1
memory = 'much'
flags = ['--kernel', 'x']
[variant.a]
colour = 1
[parameters]
A-B = ['x']
C = ['x', 'x']
[[exclude]]
C = 'y'
[budget]
cpus = 0
";
    let told = problems(text);
    let expected = [
        "1:1: a matrix has no `kernel`; did you mean `kernels`?",
        "2:11: `command` is empty",
        "3:11: `retries` is no number from 0 to 100",
        "4:10: `memory` is no size, such as \"512M\"",
        "5:9: `flags`: `--kernel` is given by the matrix itself",
        "7:1: a variant has no `colour`; there are memory, cpus, flags",
        "9:1: `A-B` is no name of a variable: letters, digits and `_`",
        "10:11: `C` has `x` twice",
        "12:5: no cell has the C `y`",
        "14:8: `cpus` is no number from 1 to 4096",
    ];
    assert_eq!(told, expected);
}
