//! A version of Nix with a store of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// What Nix is told beside the command line: nothing is fetched, and every build has its sandbox.
const SETTINGS: &str = "build-users-group =\nsubstitute = false\nflake-registry =\nsandbox = true\n\
    experimental-features = nix-command flakes\nwarn-dirty = false\n";

/// A Nix, the flake, and the stand-in of nixpkgs.
pub(crate) struct Nix {
    /// `machine`: Debian's own; `current`: a new one.
    pub(crate) name: &'static str,
    place: PathBuf,
    root: PathBuf,
}

impl Nix {
    /// Both versions.
    pub(crate) fn both() -> [Self; 2] {
        let current = Self::new("current", place().join("current"));
        [Self::new("machine", PathBuf::new()), current]
    }

    /// The machine's own.
    pub(crate) fn machine() -> Self {
        Self::new("machine", PathBuf::new())
    }

    fn new(name: &'static str, root: PathBuf) -> Self {
        let place = place();
        let conf = place.join("conf");
        fs::create_dir_all(&conf).unwrap();
        fs::write(conf.join("nix.conf"), SETTINGS).unwrap();
        fs::create_dir_all(place.join("home")).unwrap();
        let root = fs::canonicalize(&root).unwrap_or(root);
        Self { name, place, root }
    }

    /// The flake's folder, the stand-in of nixpkgs, and others beside them.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    /// What `words` do where the store is.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        let enter = self.path("flake/nix/tests/enter");
        let mut command = Command::new(enter);
        command.arg(&self.root);
        command.arg(self.path(&format!("store-{}", self.name)));
        command.arg(&self.place).args(words);
        command
            .env("NIX_CONF_DIR", self.path("conf"))
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path(&format!("home/{}", self.name)))
            .env_remove("NIX_PATH");
        command.output().unwrap()
    }

    /// `nix WORDS` with the flake's inputs replaced.
    pub(crate) fn nix(&self, words: &[&str]) -> Output {
        let end = words.iter().position(|word| *word == "--");
        let (own, further) = words.split_at(end.unwrap_or(words.len()));
        let mut all = vec!["nix"];
        all.extend(own);
        let inputs = ["nixpkgs:stub", "microvm:stub/microvm", "pcp:stub/pcp"].map(|input| {
            let (input, folder) = input.split_once(':').unwrap();
            (input, format!("path:{}", self.path(folder).display()))
        });
        for (input, path) in &inputs {
            all.extend(["--override-input", input, path]);
        }
        all.push("--no-write-lock-file");
        all.extend(further);
        self.run(&all)
    }

    /// `nix WORDS`, which must succeed: what it printed, on standard output and error.
    pub(crate) fn says(&self, words: &[&str]) -> (String, String) {
        let done = self.nix(words);
        let [out, err] = [done.stdout, done.stderr].map(|it| String::from_utf8(it).unwrap());
        assert!(
            done.status.success(),
            "{}: nix {words:?} ended with {}:\n{err}{out}",
            self.name,
            done.status
        );
        (out, err)
    }

    /// The flake's output `name` as `nix build` and others take it.
    pub(crate) fn output(&self, name: &str) -> String {
        format!("path:{}#{name}", self.path("flake").display())
    }

    /// Builds the flake's output `name`; the path in the store.
    pub(crate) fn build(&self, name: &str) -> String {
        let output = self.output(name);
        self.says(&["build", "--no-link", &output]);
        let (path, _) = self.says(&["eval", "--raw", &format!("{output}.outPath")]);
        path
    }

    /// The arguments of `nix eval` for `text`, in which `flake` is the flake and `nixpkgs` its stand-in.
    fn expression(&self, text: &str) -> String {
        let [flake, stub] = ["flake", "stub"].map(|it| self.path(it).display().to_string());
        format!(
            "let nixpkgs = (import {stub}/flake.nix).outputs {{ }};
                 microvm = (import {stub}/microvm/flake.nix).outputs {{ }};
                 pcp = (import {stub}/pcp/flake.nix).outputs {{ }} // {{ outPath = \"{stub}/pcp\"; }};
                 inputs = {{ inherit nixpkgs microvm pcp; }};
                 flake = (import {flake}/flake.nix).outputs (inputs // {{ self = flake; }})
                   // {{ inherit inputs; outPath = \"{flake}\"; }};
             in {text}"
        )
    }

    /// What `text` evaluates to, in the form that `form` (`--json` or `--raw`) asks for.
    pub(crate) fn eval(&self, form: &str, text: &str) -> String {
        let done = self.evaluate(form, text);
        let [out, err] = [done.stdout, done.stderr].map(|it| String::from_utf8(it).unwrap());
        assert!(done.status.success(), "{}: {text}:\n{err}", self.name);
        out
    }

    /// What is said of `text`, which is an error.
    pub(crate) fn error(&self, text: &str) -> String {
        let done = self.evaluate("--json", text);
        assert!(!done.status.success(), "{}: no error: {text}", self.name);
        String::from_utf8(done.stderr).unwrap()
    }

    fn evaluate(&self, form: &str, text: &str) -> Output {
        let text = self.expression(text);
        self.run(&["nix", "eval", "--impure", form, "--expr", &text])
    }
}

/// The folder that the stage prepared.
pub(crate) fn place() -> PathBuf {
    let place = env::var("PCP_VMM_NIX")
        .expect("PCP_VMM_NIX names what `cargo xtask test --stage nix` prepares");
    PathBuf::from(place)
}

/// The work tree's own `nix` folder, for goldens.
pub(crate) fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../nix/tests/golden")
}
