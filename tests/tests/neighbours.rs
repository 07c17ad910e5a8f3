//! Machines that find each other: what listens in a guest is reached by its neighbours on the container's
//! network, under its VM's name and its own port.

use bcvk_testkit::{Checks, Sandbox, Vm, images, limit, until};

/// A network of podman's that is removed at the end of its test.
struct Network<'a> {
    sandbox: &'a Sandbox,
    name: String,
}

impl<'a> Network<'a> {
    fn create(sandbox: &'a Sandbox) -> Self {
        let name = sandbox.name("lan");
        let create = sandbox.podman(["network", "create", &name]);
        let _ = create.run().expect_success();
        Self { sandbox, name }
    }

    fn boot(&self, part: &str, options: &[&str]) -> Vm<'a> {
        let network = format!("--network={}", self.name);
        let options = [&["--rm", &network], options].concat();
        self.sandbox.boot(part, &options, images::trixie())
    }

    fn remove(self) {
        let remove = self.sandbox.podman(["network", "rm", &self.name]);
        let _ = remove.run().expect_success();
    }
}

/// Starts a service of this name that runs `script` for each connection to a port.
fn serve(vm: &Vm<'_>, unit: &str, port: u16, script: &str) {
    vm.sh(&format!(
        "printf '%s\\n' '{script}' >/run/{unit}
         systemd-run --quiet --unit={unit} \
            systemd-socket-activate --listen={port} --accept --inetd bash /run/{unit}"
    ));
}

/// Words of a shell that ask a port, and print a line of what it answers.
fn ask(host: &str, port: u16) -> String {
    format!("exec 3<>/dev/tcp/{host}/{port} && head -n 1 <&3")
}

/// Returns the TCP ports of the container on which something listens.
fn listening(vm: &Vm<'_>) -> Vec<u16> {
    let process = vm.inspect("{{.State.Pid}}");
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("a table");
    let rows = table.lines().filter_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let (_, port) = columns.get(1)?.split_once(':')?;
        let listens = *columns.get(3)? == "0A";
        listens.then(|| u16::from_str_radix(port, 16).expect("a number"))
    });
    rows.collect()
}

#[test]
fn a_database_a_server_and_a_client_find_each_other() {
    let Some(sandbox) = Sandbox::root() else {
        return;
    };
    let sandbox = sandbox.resuming();
    let network = Network::create(&sandbox);
    let database = network.boot("db", &[]);
    database.sh("true");
    let server = network.boot("web", &["--publish=80"]);
    serve(&database, "db", 5432, "echo 42");
    let query = ask(database.name(), 5432);
    serve(
        &server,
        "web",
        80,
        &format!("read -r _; echo the answer is $({query})"),
    );
    let client = network.boot("client", &["--expose=none"]);
    let mut checks = Checks::new();
    let question = format!(
        "exec 3<>/dev/tcp/{}/80 && echo >&3 && head -n 1 <&3",
        server.name()
    );
    let answer = |vm: &Vm<'_>| vm.run_sh(&format!("bash -c '{question}'")).stdout();
    checks.check(
        "the client asks the server, which asks the database",
        || {
            until("an answer", limit::QUICK, || {
                answer(&client) == "the answer is 42\n"
            });
        },
    );
    checks.check("a container asks the database", || {
        let run = ["run", "--rm", "--pull=never", "--network", &network.name];
        let script = ask(database.name(), 5432);
        let container = sandbox
            .podman(run)
            .args([images::trixie(), "bash", "-c", &script]);
        let _ = container.run().expect_success().expect_stdout("42\n");
    });
    checks.check("a VM asks a container", || {
        let name = sandbox.name("container");
        let run = [
            "run",
            "-d",
            "--rm",
            "--pull=never",
            "--network",
            &network.name,
        ];
        let echo = "systemd-socket-activate --listen=7777 --accept --inetd echo hello";
        let container =
            sandbox
                .podman(run)
                .args(["--name", &name, images::trixie(), "sh", "-c", echo]);
        let _ = container.run().expect_success();
        let question = format!("bash -c '{}'", ask(&name, 7777));
        until("an answer", limit::QUICK, || {
            client.run_sh(&question).stdout() == "hello\n"
        });
        let _ = sandbox
            .podman(["rm", "-f", "-t=0", &name])
            .run()
            .expect_success();
    });
    checks.check(
        "a published port leads from the host to the same number",
        || {
            let ports = sandbox.podman(["port", server.name()]).run().text();
            assert!(ports.starts_with("80/tcp -> "), "{ports}");
            assert_eq!(
                listening(&server)
                    .iter()
                    .filter(|port| **port == 80)
                    .count(),
                1
            );
        },
    );
    checks.check("what ends is reached no more", || {
        database.sh("systemctl stop db");
        until("port 5432 is closed", limit::QUICK, || {
            !listening(&database).contains(&5432)
        });
    });
    check_hostile(&mut checks, &client, &database);
    for vm in [&client, &server, &database] {
        vm.discard();
    }
    network.remove();
    checks.finish();
    sandbox.finish();
}

/// Tells the host, as a hostile guest may, that something listens on these ports.
fn claim(vm: &Vm<'_>, ports: &str) {
    let control = "port=$(echo /dev/vport*p1); test -c $port";
    let write = format!("printf 'listening {ports}\\n' >$port");
    // One process at a time has the port.
    vm.sh(&format!("{control}; until {write}; do sleep 0.1; done"));
}

/// Ports on which a hostile guest may have its container listen: `closed` is started with `--expose none`.
fn check_hostile(checks: &mut Checks, closed: &Vm<'_>, open: &Vm<'_>) {
    checks.check("--expose none opens nothing", || {
        serve(closed, "secret", 5432, "echo secret");
        claim(closed, "tcp/4444");
        assert_eq!(listening(closed), Vec::<u16>::new());
    });
    checks.check("a guest opens no more ports than there may be", || {
        let all: Vec<String> = (1..=600).map(|port| format!("tcp/{port}")).collect();
        claim(open, &all.join(" "));
        until("the lowest are open", limit::QUICK, || {
            listening(open).contains(&64)
        });
        assert_eq!(listening(open).len(), 64);
        // The guest's own program has the last word, as it does not know of the other.
        serve(open, "again", 5432, "echo 42");
        until("they are closed", limit::QUICK, || {
            !listening(open).contains(&64) && listening(open).contains(&5432)
        });
    });
}
