//! Logs that podman keeps of a VM's container, whatever the user's `containers.conf` says of logs.

use std::fs;

use bcvk_testkit::{Checks, Sandbox, images};

#[test]
fn a_vms_log_is_bounded_whatever_driver_podman_is_set_to() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    for driver in ["journald", "none", "passthrough"] {
        checks.check(driver, || {
            let conf = sandbox.path().join(format!("{driver}.conf"));
            // Every host can give these limits.
            let text = format!(
                "[containers]\nlog_driver = \"{driver}\"\n\
                 default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n"
            );
            fs::write(&conf, text).expect("write");
            let name = sandbox.name(driver);
            let _ = sandbox
                .bcvk(["run", "-d", "--rm", "--pull=never", "--name", &name])
                .arg(images::trixie())
                .env("CONTAINERS_CONF", &conf)
                .run()
                .expect_success();
            let podman = |args: &[&str]| {
                let podman = sandbox.podman(args).env("CONTAINERS_CONF", &conf);
                podman.run().expect_success().text()
            };
            let log = "{{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Size}}";
            let log = podman(&["container", "inspect", "--format", log, &name]);
            assert_eq!(log, "k8s-file 67.11MB");
            let _ = podman(&["logs", &name]);
            let _ = sandbox
                .bcvk(["rm", "--force", &name])
                .run()
                .expect_success();
        });
    }
    checks.finish();
    sandbox.finish();
}
