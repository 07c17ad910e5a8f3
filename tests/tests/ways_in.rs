//! The user's way into images that would lock everybody out.

use std::time::Duration;

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
    checks.check("whatever the image's sshd is doing", || {
        // When Debian's ssh.service stops, the directory goes that each new session is confined to.
        vm.sh("systemd-run --quiet --unit=restarts sh -c \
               'while systemctl restart ssh; do systemctl reset-failed ssh; done'");
        for _ in 0..8 {
            assert_eq!(vm.sh("systemctl is-active restarts"), "active");
        }
        vm.sh("systemctl stop restarts");
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

/// Limit for a refusal before the start.
const AT_ONCE: Duration = Duration::from_secs(15);

/// Root and a user whose shells let nobody in, in an image whose sshd is fine, and whose network is all
/// IPv6.
const SHELLLESS: &str = "FROM BASE\n\
    RUN usermod -s /usr/sbin/nologin root && \
    useradd --create-home --home-dir /var/home/closed --shell /bin/false closed && \
    useradd --create-home --home-dir /var/home/open --shell /bin/sh open && \
    printf '[Match]\\nType=ether\\n[Network]\\nDHCP=ipv6\\n' >/etc/systemd/network/10.network\n";

#[test]
fn an_image_whose_root_has_no_shell_lets_its_users_in() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    let image = sandbox.build_image(SHELLLESS);
    let refused = |words: &[&str], said: &[&str]| {
        let output = sandbox.bcvk([&["run-ssh"], words, &["true"]].concat());
        let _ = output.run().expect_error(125, said).expect_within(AT_ONCE);
    };
    checks.check("the image's own sshd would not", || {
        refused(
            &["--login=image", &image],
            &["gives root no shell", "usermod", "leave out --login image"],
        );
    });
    checks.check("nor one that is not there", || {
        refused(
            &["--login=image", images::minimal()],
            &["no sshd", "openssh-server", "leave out --login image"],
        );
    });
    checks.check("an image without any shell lets nobody in", || {
        let steps = "FROM BASE\nRUN rm /usr/bin/bash /usr/bin/sh\n";
        let image = sandbox.build_image_named("shell-less", steps);
        refused(&[&image], &["no shell", "bash", "--no-ssh-keygen"]);
        sandbox.remove_image(&image);
    });
    let vm = sandbox.boot("vm", &["--rm"], &image);
    checks.check("a shell of the image's stands in", || {
        assert_eq!(vm.sh("id -un; echo $SHELL"), "root\n/bin/bash");
        let _ = vm.run_sh("exit 7").expect_code(7);
    });
    checks.check("an address of IPv6 alone will do", || {
        vm.sh("until grep -q '^fec0.* 00 .*enp' /proc/net/if_inet6; do sleep 1; done");
        vm.sh("! grep -q 10.0.2.15 /proc/net/fib_trie");
    });
    checks.check("for each user who has none", || {
        let whoami = |user: &str| {
            let output = sandbox
                .bcvk(["ssh", &*format!("{user}@{}", vm.name())])
                .arg("id -un; pwd; cat /proc/$PPID/comm")
                .limit(limit::BOOT)
                .run();
            output.expect_success().text()
        };
        assert_eq!(whoami("closed"), "closed\n/var/home/closed\nbcvk");
        let open = whoami("open");
        assert!(open.starts_with("open\n/var/home/open\nsshd"), "{open}");
    });
    vm.stop();
    sandbox.remove_image(&image);
    checks.finish();
    sandbox.finish();
}

/// sshd would know neither the host key nor the user's, so the server is our own.
#[test]
fn a_system_in_fips_mode_lets_its_user_in() {
    let sandbox = Sandbox::new();
    let image = sandbox.build_image(include_str!("fixtures/Containerfile.fips"));
    let mut checks = Checks::new();
    for (name, warm) in [("saved", "--warm=auto"), ("resumed", "--warm=require")] {
        let vm = sandbox.boot(name, &["--rm", warm], &image);
        checks.check("the kernel and the programs are in that mode", || {
            assert_eq!(vm.sh("cat /proc/sys/crypto/fips_enabled"), "1");
            let refused = vm.run_sh("openssl md5 /etc/os-release");
            let _ = refused.expect_code(1).expect_stderr("MD5");
        });
        checks.check("the session is our server's", || {
            assert_eq!(vm.sh("cat /proc/$PPID/comm"), "bcvk");
        });
        checks.check("a megabyte goes there and back", || {
            let sent = "x".repeat(1 << 20);
            let output = vm.ssh(&["tee", "/tmp/sent"]).stdin(sent.as_str());
            let output = output.limit(limit::BOOT).run().expect_success();
            assert!(output.stdout() == sent, "other bytes");
            assert_eq!(vm.sh("stat -c %s /tmp/sent"), sent.len().to_string());
        });
        vm.stop();
    }
    sandbox.remove_image(&image);
    checks.finish();
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
