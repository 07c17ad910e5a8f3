//! Options from the command line, the environment and the configuration file.

use std::fs;
use std::time::Duration;

use bcvk_testkit::{Checks, FakeTools, Sandbox};

/// Limit far above what looking at files takes, and far below any time-out.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Makes a fake podman, with everything else that a dry run looks for.
fn tools_for_dry_runs(sandbox: &Sandbox) -> FakeTools {
    let tools = FakeTools::new(sandbox);
    for program in ["ssh", &format!("qemu-system-{}", std::env::consts::ARCH)] {
        tools.link(program);
    }
    tools.podman("exit 1");
    tools
}

/// Writes the configuration and returns its directory, for `XDG_CONFIG_HOME`.
fn write_config(sandbox: &Sandbox, text: &str) -> String {
    let dir = sandbox.path().join("config");
    fs::create_dir_all(dir.join("bcvk")).expect("make a directory");
    fs::write(dir.join("bcvk/config.toml"), text).expect("write");
    dir.to_str().expect("UTF-8").to_owned()
}

/// Variables with their values.
type Variables = &'static [(&'static str, &'static str)];

/// Variables that set options.
const ENVIRONMENT: Variables = &[
    ("BCVK_MEMORY", "2G"),
    ("BCVK_LABEL", "'c=the environment' d=e"),
];

/// Sources of settings: a name, variables, arguments, and words that the dry run prints.
const SOURCES: [(&str, Variables, &[&str], &[&str]); 4] = [
    (
        "the file",
        &[],
        &[],
        &["size=1024M", "cpus=3", "a=file", "b=file"],
    ),
    (
        "the environment",
        ENVIRONMENT,
        &[],
        &["size=2048M", "cpus=3", "c=the environment", "d=e"],
    ),
    (
        "the command line",
        ENVIRONMENT,
        &["--memory=4G", "--label=f=line"],
        &["size=4096M", "cpus=3", "f=line"],
    ),
    (
        "an instance type of the environment",
        &[("BCVK_ITYPE", "u1.small")],
        &["--vcpus=2"],
        &["size=2048M", "cpus=2"],
    ),
];

#[test]
fn the_command_line_counts_more_than_the_environment_than_the_file() {
    let sandbox = Sandbox::new();
    let tools = tools_for_dry_runs(&sandbox);
    let config = write_config(
        &sandbox,
        "# mine\n[ephemeral]\nmemory = 1024\nvcpus = 3\nlabel = [\"a=file\", \"b=file\"]\n",
    );
    let mut checks = Checks::new();
    let dry_run = |verb: &str, env: &[(&str, &str)], args: &[&str]| {
        let mut command = sandbox
            .bcvk([verb, "--dry-run"])
            .args(args)
            .arg("localhost/any")
            .env("XDG_CONFIG_HOME", &config)
            // The sandbox's own variable says one; an empty one says nothing.
            .env("BCVK_VCPUS", "");
        for (name, value) in env {
            command = command.env(name, value);
        }
        tools.only(command).run().expect_success().stdout()
    };
    for verb in ["run", "run-ssh"] {
        for (name, env, args, words) in SOURCES {
            checks.check(&format!("{verb}: {name}"), || {
                let stdout = dry_run(verb, env, args);
                for word in words {
                    assert!(stdout.contains(word), "{word} in {stdout}");
                }
                let from_file = words.contains(&"a=file") || name.starts_with("an instance");
                assert_eq!(stdout.contains("a=file"), from_file, "{stdout}");
            });
        }
    }
    checks.check("without XDG_CONFIG_HOME it is in ~/.config", || {
        let home = sandbox.make_dir("somebody");
        fs::create_dir_all(home.join(".config/bcvk")).expect("make a directory");
        fs::write(
            home.join(".config/bcvk/config.toml"),
            "ephemeral.memory = 5120\n",
        )
        .expect("write");
        let command = sandbox
            .bcvk(["run", "--dry-run", "localhost/any"])
            .env("HOME", &home);
        let _ = tools.only(command).run().expect_stdout("size=5120M");
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn a_wrong_setting_is_named_before_anything_is_started() {
    let sandbox = Sandbox::new();
    let tools = tools_for_dry_runs(&sandbox);
    let mut checks = Checks::new();
    for (text, words) in [
        (
            "[ephemeral]\n\nmemroy = \"1G\"\n",
            &["line 3", "no option 'memroy'", "memory", "hint: "][..],
        ),
        (
            "[ephemeral]\nmemory = \"banana\"\n",
            &["line 2", "memory: ", "'banana'", "4G"],
        ),
        (
            "[ephemeral]\nkarg = [\n  \"quiet\",\n  \"a b\",\n]\n",
            &["line 4", "karg: ", "'a b'"],
        ),
        ("[ephemeral\n", &["line 1", "unclosed table"]),
        ("memory = \"1G\"\n", &["line 1", "[ephemeral]"]),
        (
            "[ephemeral]\nconsole = true\n",
            &["line 2", "'console'", "command line"],
        ),
    ] {
        let config = write_config(&sandbox, text);
        for verb in ["run", "run-ssh"] {
            checks.check(&format!("{verb}: {text:?}"), || {
                let command = sandbox.bcvk([verb, "localhost/any"]);
                let _ = tools
                    .only(command.env("XDG_CONFIG_HOME", &config))
                    .run()
                    .expect_error(2, words)
                    .expect_stderr("config/bcvk/config.toml")
                    .expect_within(AT_ONCE);
            });
        }
        checks.check("other commands do not need it", || {
            let command = sandbox.bcvk(["ps"]).env("XDG_CONFIG_HOME", &config);
            let _ = tools.only(command).run().expect_success();
        });
    }
    checks.check("the environment", || {
        let command = sandbox.bcvk(["run", "localhost/any"]);
        let _ = tools
            .only(command.env("BCVK_ACCEL", "magic"))
            .run()
            .expect_error(2, &["environment variable BCVK_ACCEL", "'magic'", "kvm"]);
    });
    checks.check("podman was not asked to run or pull anything", || {
        let calls = tools.calls();
        assert!(
            calls.iter().all(|call| call.starts_with("ps ")),
            "{calls:#?}"
        );
    });
    checks.finish();
    sandbox.finish();
}

/// A service of systemd's has no `HOME` unless its unit says so.
#[test]
fn a_process_without_home_has_its_accounts() {
    let sandbox = Sandbox::new();
    let variables = ["HOME", "XDG_CACHE_HOME"].map(|name| format!("--unset={name}"));
    let output = sandbox
        .command("/usr/bin/env")
        .args(&variables)
        .arg(sandbox.bcvk_path())
        .args(["ephemeral", "snapshots", "ls", "--json"])
        .run();
    let text = output.expect_success().stdout();
    let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(list.is_array(), "{list}");
    sandbox.finish();
}
