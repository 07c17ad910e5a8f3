//! Images that come from a registry.

use bcvk_testkit::{Checks, Cmd, Registry, Sandbox, limit};

#[test]
fn an_image_of_a_registry_is_pulled_once_and_boots() {
    let sandbox = Sandbox::new();
    let own = sandbox.build_image("FROM BASE\nRUN echo from afar >/usr/share/pulled\n");
    let registry = Registry::with(&sandbox, &own);
    sandbox.remove_image(&own);
    let image = registry.image();
    let run_ssh = |options: &[&str]| -> Cmd {
        let command = sandbox.bcvk(["run-ssh", "--name", &sandbox.name("vm")]);
        let command = command
            .args(options)
            .args([image, "cat", "/usr/share/pulled"]);
        registry.known_to(command).limit(limit::BOOT)
    };
    let asked = |part: &str| registry.asked().iter().any(|path| path.contains(part));

    let mut checks = Checks::new();
    checks.check("--pull never does not ask", || {
        let _ = run_ssh(&["--pull=never"])
            .run()
            .expect_error(125, &[image, "does not exist"]);
        assert!(!asked(""));
    });
    checks.check("--pull missing pulls an image that is missing", || {
        // This is the way to a guest's files that takes least time.
        let output = run_ssh(&["--pull=missing", "--initramfs=direct", "--ready=early"])
            .run()
            .expect_success();
        assert_eq!(output.stdout(), "from afar\n", "{output}");
        assert!(asked("/blobs/sha256:"));
    });
    checks.check("--pull missing does not ask for one that is here", || {
        let _ = run_ssh(&["--pull=missing", "--dry-run"])
            .run()
            .expect_success();
        assert!(!asked(""));
    });
    checks.check("--pull always asks for a newer one", || {
        let _ = run_ssh(&["--pull=always", "--dry-run"])
            .run()
            .expect_success();
        assert!(asked("/manifests/"));
    });
    checks.check("--pull newer asks too", || {
        let _ = run_ssh(&["--pull=newer", "--dry-run"])
            .run()
            .expect_success();
        assert!(asked("/manifests/"));
    });
    sandbox.remove_image(image);
    checks.finish();
    sandbox.finish();
}
