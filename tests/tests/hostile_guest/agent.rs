//! A guest whose agent is not bcvk's.

use bcvk_testkit::{Sandbox, limit};

use crate::steering;

/// The image's own unit counts more than bcvk's in `/run`. It speaks before it is asked, then says that
/// it is there, takes everything that makes the guest one VM, and fails with words for the terminal.
const IMAGE: &str = "FROM BASE\n\
    COPY bcvk-agent.service /etc/systemd/system/bcvk-agent.service\n\
    COPY agent /usr/bin/agent\n";

const UNIT: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh /usr/bin/agent\n";

const AGENT: &str = "port=/dev/virtio-ports/org.bcvk.agent\n\
    while ! [ -e $port ]; do sleep 0.1; done\n\
    exec 3<>$port\n\
    { head -c 2000000 /dev/urandom; head -c 2000000 /dev/zero; head -c 2000000 /dev/zero | tr '\\0' x\n\
      printf '\\nfailed early\\ndone\\nhere\\n'; } >&3\n\
    read -r hello <&3\n\
    read -r all <&3\n\
    printf 'failed \\033]0;owned\\a\\033[2Jevil words\\302\\233\\342\\200\\256\\n' >&3\n\
    exec sleep infinity\n";

#[test]
fn noise_on_the_agents_port_ends_that_vm_and_no_more() {
    let sandbox = Sandbox::new();
    let context = sandbox.make_dir("context");
    for (file, text) in [("bcvk-agent.service", UNIT), ("agent", AGENT)] {
        std::fs::write(context.join(file), text).expect("written");
    }
    let image = sandbox.build_image_from("image", IMAGE, &context, &[]);
    let output = sandbox
        .bcvk(["run-ssh", "--warm=auto", "--name", &sandbox.name("vm")])
        .args([&image, "true"])
        .limit(limit::BOOT)
        .run()
        .expect_error(126, &["did not take what it was given", "evil words"])
        .expect_no_stderr("early");
    assert_eq!(steering(&output.stderr()), None, "{output}");
    sandbox.remove_image(&image);
    sandbox.finish();
}
