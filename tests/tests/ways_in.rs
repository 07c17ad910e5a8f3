//! The user's way into images that would lock everybody out.

use bcvk_testkit::{Checks, Sandbox, images, limit};

/// Every setting here has kept users out of their own images. None of them matters, so one VM shows
/// it for all: sshd's policy, place of keys, port and algorithms, the state of root's account, a path
/// to the keys that tmpfiles.d takes for unsafe, and the network's address.
const LOCKED: &str = "FROM BASE\n\
    RUN printf 'PermitRootLogin no\\nAuthorizedKeysFile /etc/ssh/keys/%%u\\nPort 2222\\n\
    AllowUsers nobody\\nPubkeyAcceptedAlgorithms rsa-sha2-512\\nMaxStartups 1:100:1\\n' \
    >/etc/ssh/sshd_config.d/40.conf && \
    printf '[Match]\\nType=ether\\n[Network]\\nAddress=192.168.50.10/24\\n' \
    >/etc/systemd/network/10.network && \
    useradd --create-home --home-dir /var/home/other --shell /bin/sh other && \
    chage -d 0 root && chage -E 1 root && passwd -l root && chown 1000:1000 /var\n";

#[test]
fn an_image_that_locks_everybody_out_lets_its_user_in() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    let image = sandbox.build_image(LOCKED);
    let vm = sandbox.boot(
        "vm",
        &[
            "--network=none",
            "--ready=early",
            "--rm",
            "--env=GREETING=hello \"you\" \\ there",
        ],
        &image,
    );
    checks.check("its root", || {
        assert_eq!(vm.sh("id -un"), "root");
        let _ = vm.run_sh("exit 7").expect_code(7);
    });
    checks.check("a session sees the variables", || {
        assert_eq!(vm.sh("echo \"$GREETING\""), "hello \"you\" \\ there");
    });
    checks.check("another user of the image", || {
        let somebody = format!("other@{}", vm.name());
        for words in [
            [
                "ssh",
                &*somebody,
                "id -un; pwd; touch new && stat -c %U new",
            ],
            ["ssh", "-lother", vm.name()],
        ] {
            let output = sandbox
                .bcvk(words)
                .stdin("id -un; pwd; touch new && stat -c %U new\n")
                .limit(limit::BOOT)
                .run();
            assert_eq!(
                output.expect_success().text(),
                "other\n/var/home/other\nother"
            );
        }
    });
    checks.check("forty at once", || {
        let sessions: Vec<_> = (0..40)
            .map(|n| vm.ssh(&["echo", &n.to_string()]).spawn())
            .collect();
        for (n, session) in sessions.into_iter().enumerate() {
            let output = session.wait(limit::BOOT).expect_success();
            assert_eq!(output.text(), n.to_string());
        }
    });
    checks.check("all that is sent arrives", || {
        let sum =
            vm.sh("head -c 100M /dev/zero | tee /dev/fd/2 2>/tmp/all | wc -c; wc -c </tmp/all");
        assert_eq!(sum, "104857600\n104857600");
        let sent = "x".repeat(8 << 20);
        let output = vm
            .ssh(&["wc", "-c"])
            .stdin(sent.as_str())
            .limit(limit::BOOT)
            .run();
        assert_eq!(output.expect_success().text(), sent.len().to_string());
        let output = vm
            .ssh(&["head", "-c", "8M", "/tmp/all"])
            .limit(limit::BOOT)
            .run();
        assert_eq!(output.expect_success().stdout().len(), 8 << 20);
    });
    checks.check("the image's sshd and address are as it wants them", || {
        vm.sh("systemctl start network.target; until systemctl is-active -q ssh.service; do sleep 1; done");
        vm.sh("grep -q ':08AE ' /proc/net/tcp");
        vm.sh("until grep -q 192.168.50.10 /proc/net/fib_trie; do sleep 1; done");
    });
    vm.stop();
    sandbox.remove_image(&image);
    checks.finish();
    sandbox.finish();
}

#[test]
fn an_image_whose_root_has_no_shell_is_refused() {
    let sandbox = Sandbox::new();
    let image = sandbox.build_image("FROM BASE\nRUN usermod -s /usr/sbin/nologin root\n");
    let name = sandbox.name("vm");
    let refused = |words: &[&str]| {
        let run =
            sandbox.bcvk([&["run-ssh", "--name", &*name], words, &[&*image, "true"]].concat());
        let _ = run
            .limit(limit::BOOT)
            .run()
            .expect_error(125, &["gives root no shell", "usermod", "--no-ssh-keygen"]);
    };
    refused(&[]);
    refused(&["--login=image"]);
    sandbox.remove_image(&image);
    sandbox.finish();
}

#[test]
fn what_the_images_sshd_cannot_be_asked_for_is_refused_before_the_start() {
    let sandbox = Sandbox::new();
    let _ = sandbox
        .bcvk([
            "run-ssh",
            "--login=image",
            "--ready=early",
            "--rm",
            images::trixie(),
            "true",
        ])
        .run()
        .expect_error(2, &["--ready early", "--login image"]);
    sandbox.finish();
}
