//! How the program behaves as a process: statuses, streams, environment, generated files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod fixture;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fixture::Fixture;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn an_error_in_json_has_code_message_causes_and_hint() {
    let fixture = Fixture::new();
    for args in [
        &["run", "--json", "--memroy", "1"][..],
        &["run", "--json", "--kernel", "nope", "--memory", "0"],
        &["--json", "run", "--bundle", "unknown-field"],
        &["run", "--variant", "nope", "--json"],
    ] {
        let ran = fixture.run(args);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{args:?}");
        let error = &json(&ran.err)["error"];
        assert!(error["code"].is_string(), "{ran:?}");
        assert!(error["message"].is_string(), "{ran:?}");
        assert!(error["causes"].is_array(), "{ran:?}");
        assert!(
            error["hint"].is_string() || error["hint"].is_null(),
            "{ran:?}"
        );
    }
}

#[test]
fn a_dry_run_in_json_holds_the_spec_and_the_origins() {
    let ran = Fixture::new().run(&["run", "--bundle", "bundle", "--dry-run", "--json"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    let value = json(&ran.out);
    assert_eq!(value["spec"]["memory"], 1 << 30);
    assert_eq!(value["spec"]["cpus"], 4);
    let settings = value["settings"].as_array().unwrap();
    let memory = settings.iter().find(|s| s["field"] == "memory").unwrap();
    assert_eq!(memory["origin"], "bundle bundle");
    assert!(!value["host_changes"].as_array().unwrap().is_empty());
}

#[test]
fn doctor_reports_each_check_with_its_state() {
    let ran = Fixture::new().run(&["doctor", "--json"]);
    let value = json(&ran.out);
    let ok = value["ok"].as_bool().unwrap();
    assert_eq!(ran.status, i32::from(!ok));
    let checks = value["checks"].as_array().unwrap();
    for check in checks {
        let state = check["state"].as_str().unwrap();
        assert!(["ok", "warn", "fail"].contains(&state), "{check}");
        assert_eq!(check["hint"].is_string(), state != "ok", "{check}");
    }
    assert_eq!(ok, checks.iter().all(|check| check["state"] != "fail"));
}

#[test]
fn the_stronger_source_of_a_value_wins() {
    let fixture = Fixture::new();
    let config = fixture.path().join(".config/pcp-vmm");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), "memory = \"256M\"\ncpus = 2\n").unwrap();
    fs::write(fixture.path().join("pcp-vmm.toml"), "cpus = 3\n").unwrap();
    let memory_and_cpus = |variables: &[(&str, &str)], flags: &[&str]| {
        let args = [&["run", "--bundle", "bundle", "--dry-run", "--json"], flags].concat();
        let mut command = fixture.command(&args);
        let ran = fixture.finish(command.envs(variables.iter().copied()));
        let spec = &json(&ran.out)["spec"];
        (
            spec["memory"].as_u64().unwrap() >> 20,
            spec["cpus"].as_u64().unwrap(),
        )
    };
    assert_eq!(memory_and_cpus(&[], &[]), (256, 3));
    assert_eq!(memory_and_cpus(&[("PCP_VMM_MEMORY", "300")], &[]), (300, 3));
    assert_eq!(
        memory_and_cpus(&[("PCP_VMM_CPUS", "5")], &["--cpus", "6"]),
        (256, 6)
    );
}

#[test]
fn a_faulty_configuration_file_is_named_with_the_line() {
    let fixture = Fixture::new();
    fs::write(fixture.path().join("pcp-vmm.toml"), "memroy = \"1G\"\n").unwrap();
    let ran = fixture.run(&["run", "--bundle", "bundle", "--dry-run"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("cannot use `pcp-vmm.toml`"), "{}", ran.err);
    assert!(
        ran.err.contains("line 1") && ran.err.contains("memroy"),
        "{}",
        ran.err
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let fixture = Fixture::new();
    let mut command = fixture.command(&["completions", "bash"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn colours_are_a_matter_of_choice() {
    let fixture = Fixture::new();
    let err = |flags: &[&str], variables: &[(&str, &str)]| {
        let args = [&["run", "--kernel", "nope"], flags].concat();
        let mut command = fixture.command(&args);
        fixture.finish(command.envs(variables.iter().copied())).err
    };
    assert!(!err(&[], &[]).contains('\x1b'));
    assert!(err(&["--color", "always"], &[("NO_COLOR", "1")]).contains('\x1b'));
    assert!(err(&[], &[("CLICOLOR_FORCE", "1")]).contains('\x1b'));
    assert!(!err(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]).contains('\x1b'));
}

#[test]
fn images_are_listed_and_removed() {
    let fixture = Fixture::new();
    let cache = fixture.path().join("cache");
    fs::create_dir_all(cache.join("images/broken")).unwrap();
    fs::rename(fixture.path().join("bundle"), cache.join("images/base")).unwrap();
    let run = |args: &[&str]| {
        let mut command = fixture.command(args);
        fixture.finish(command.env("PCP_VMM_CACHE", &cache))
    };
    assert_eq!(run(&["image", "ls", "-q"]).out, "base\nbroken\n");
    let rows = json(&run(&["image", "ls", "--json"]).out);
    assert_eq!(rows[0]["kernel"], "6.12.0");
    assert!(
        rows[0]["problem"].is_null() && rows[1]["problem"].is_string(),
        "{rows}"
    );
    assert_eq!(
        run(&["image", "rm", "base"]).status,
        2,
        "removed without being asked"
    );
    assert_eq!(run(&["image", "rm", "nope", "--force"]).status, 1);
    assert_eq!(run(&["image", "rm", "../images/base", "--force"]).status, 1);
    assert_eq!(run(&["image", "rm", "base", "--force"]).status, 0);
    assert_eq!(run(&["image", "ls", "-q"]).out, "broken\n");
}

#[test]
fn a_log_goes_where_it_is_sent() {
    let fixture = Fixture::new();
    let log = fixture.path().join("log");
    let mut command = fixture.command(&["run", "--variant", "base", "--kernel", "nope"]);
    command.args([
        "--log-file",
        log.to_str().unwrap(),
        "--log-format",
        "json",
        "-vvv",
    ]);
    command.args(["--dry-run"]).env("PCP_VMM_BUNDLE", "bundle");
    fixture.finish(&mut command);
    assert!(log.exists());
    let refused = fixture.run(&["doctor", "--log-file", "/nonexistent/log"]);
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("cannot open log"), "{}", refused.err);
}

/// All files below `dir`, by their path in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                found.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_generated_documents_are_fresh() {
    let fixture = Fixture::new();
    let dir = fixture.path().join("docs");
    assert_eq!(fixture.run(&["docs", dir.to_str().unwrap()]).status, 0);
    let committed = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs"));
    let fresh = files(&dir);
    for (name, text) in fresh {
        let same = committed.get(&name) == Some(&text);
        assert!(
            same,
            "docs/{} is stale: write it with `pcp-vmm docs docs`",
            name.display()
        );
    }
}

#[test]
fn a_test_whose_vm_does_not_start_fails_there_and_reaches_nothing_more() {
    let fixture = Fixture::new();
    let ran = fixture.run(&[
        "lifecycle",
        "test",
        "--bundle",
        "bundle",
        "--json",
        "--junit",
        "j.xml",
    ]);
    assert_eq!(ran.status, 1, "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&report["failed"], &report["passed"]),
        (&1.into(), &0.into())
    );
    let test = &report["tests"][0];
    let phases = test["phases"].as_array().unwrap();
    let results: Vec<&str> = phases
        .iter()
        .map(|it| it["result"].as_str().unwrap())
        .collect();
    assert_eq!(results[..3], ["passed", "failed", "skipped"]);
    let check = &phases[1]["checks"][0];
    assert!(
        check["cause"]
            .as_str()
            .unwrap()
            .contains("cannot run `pcp-vm`"),
        "{check}"
    );
    assert_eq!(test["evidence"]["hints"].as_array().unwrap().len(), 1);
    let xml = fs::read_to_string(fixture.path().join("j.xml")).unwrap();
    assert!(
        xml.contains("name=\"1 start\"") && xml.contains("<failure"),
        "{xml}"
    );
}

#[test]
fn a_matrix_tells_each_cell_each_retry_and_all_at_the_end() {
    let fixture = Fixture::new();
    let run = |more: &[&str]| {
        let mut words = vec!["matrix", "matrix.toml", "--memory", "4G", "--cpus", "2"];
        words.extend(more);
        fixture.finish(fixture.command(&words).env("NO_COLOR", "1"))
    };
    // No cell has a kernel: each fails twice, with its reason in its log.
    let ran = run(&["--json"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    let results = json(&ran.out);
    assert_eq!(results["counts"]["cells"], 6);
    assert_eq!(results["counts"]["error"], 6);
    let cells = results["cells"].as_array().unwrap();
    assert_eq!(cells[0]["name"], "none/bzImage large MODE=safe");
    assert_eq!(cells[0]["memory"], 2_u64 << 30);
    for cell in cells {
        let attempts = cell["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 2, "{cell}");
        for attempt in attempts {
            let log = fixture.path().join(attempt["log"].as_str().unwrap());
            let log = fs::read_to_string(log).unwrap();
            assert!(log.contains("cannot read the kernel `none/"), "{log}");
        }
    }
    let folder = fixture.path().join("matrix-results");
    let kept = fs::read_to_string(folder.join("results.json")).unwrap();
    assert_eq!(json(&kept), results);
    let xml = fs::read_to_string(folder.join("junit.xml")).unwrap();
    assert_eq!(
        xml.matches("<error message=\"error, after error\">")
            .count(),
        6,
        "{xml}"
    );
    let ran = run(&["--results", "other"]);
    assert!(
        ran.err
            .contains("none/bzImage small MODE=fast: error, runs again"),
        "{ran:?}"
    );
    assert!(
        ran.err.ends_with("0 of 6 passed, 6 whose VM failed\n"),
        "{ran:?}"
    );
    assert_eq!(ran.out.lines().count(), 7, "{ran:?}");
}
