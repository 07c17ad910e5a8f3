//! Files with scp and sftp.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Output;

use super::{Server, hash, much};

/// Runs the commands of a batch of sftp's, and returns what it says.
fn sftp(server: &Server, batch: &str) -> Output {
    let file = server.path("batch");
    fs::write(&file, batch).expect("written");
    let mut client = server.client("sftp");
    client
        .arg("-b")
        .arg(file)
        .arg("vm")
        .output()
        .expect("sftp runs")
}

#[test]
fn scp_copies_both_ways() {
    let server = Server::start();
    let from = much(&server);
    fs::set_permissions(&from, fs::Permissions::from_mode(0o640)).expect("set");
    let tree = server.path("tree");
    fs::create_dir_all(tree.join("inner")).expect("a directory");
    fs::copy(&from, tree.join("inner/file")).expect("copied");
    let (there, back) = (server.path("home/there"), server.path("back"));
    let path = |path: &Path| path.display().to_string();
    for arguments in [
        // Relative paths are below the home directory, also those with a tilde.
        ["-p".to_owned(), path(&from), "vm:there".to_owned()],
        ["-p".to_owned(), "vm:~/there".to_owned(), path(&back)],
        ["-r".to_owned(), path(&tree), "vm:".to_owned()],
        [
            "-r".to_owned(),
            "vm:tree".to_owned(),
            path(&server.path("again")),
        ],
    ] {
        let output = server
            .client("scp")
            .args(&arguments)
            .output()
            .expect("scp runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let expected = hash(&from);
    for copy in [&there, &back, &server.path("again/inner/file")] {
        assert_eq!(hash(copy), expected, "{copy:?}");
    }
    let (original, copy) = (
        from.metadata().expect("there"),
        back.metadata().expect("there"),
    );
    assert_eq!(
        (original.mode(), original.mtime()),
        (copy.mode(), copy.mtime())
    );
}

#[test]
fn sftp_changes_files() {
    let server = Server::start();
    let home = server.path("home");
    fs::write(home.join("file"), "content").expect("written");
    let output = sftp(
        &server,
        "pwd\nmkdir dir\nrename file dir/moved\nln -s moved dir/link\nln dir/moved dir/hard\n\
         chmod 600 dir/moved\nls -l dir\n",
    );
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let home = home.canonicalize().expect("there");
    assert!(
        text.contains(&format!("Remote working directory: {}", home.display())),
        "{text}"
    );
    for pattern in ["-rw-------    2 ", "lrwxrwxrwx    1 "] {
        assert!(text.contains(pattern), "{pattern}: {text}");
    }
    let moved = home.join("dir/moved");
    assert_eq!(
        fs::read_link(home.join("dir/link")).expect("a link"),
        Path::new("moved")
    );
    assert_eq!(fs::read(home.join("dir/hard")).expect("read"), b"content");
    assert_eq!(moved.metadata().expect("there").mode() & 0o777, 0o600);
    let output = sftp(&server, "rm dir/*\nrmdir dir\n");
    assert!(output.status.success(), "{output:?}");
    assert!(!home.join("dir").exists());
}

#[test]
fn sftp_tells_errors() {
    let server = Server::start();
    fs::create_dir(server.path("home/dir")).expect("a directory");
    fs::write(server.path("home/dir/file"), "").expect("written");
    for (command, error) in [
        ("get missing", "not found"),
        ("rmdir dir", "Failure"),
        ("mkdir dir", "Failure"),
        ("mkdir no/dir", "No such file"),
    ] {
        let output = sftp(&server, &format!("{command}\n"));
        assert_eq!(output.status.code(), Some(1), "{command}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(error), "{command}: {text}");
    }
}

#[test]
fn a_directory_of_many_files_is_listed() {
    let server = Server::start();
    for number in 0..250 {
        fs::write(server.path(&format!("home/{number}")), "").expect("written");
    }
    let output = sftp(&server, "ls -1\n");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        text.lines()
            .filter(|line| line.trim().parse::<u32>().is_ok())
            .count(),
        250
    );
}

#[test]
fn the_images_own_sftp_server_is_preferred() {
    let server = Server::start();
    let program = server.path("root/usr/lib/openssh/sftp-server");
    fs::create_dir_all(program.parent().expect("a directory")).expect("a directory");
    fs::write(&program, "#!/bin/sh\ntouch $HOME/used\n").expect("written");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("set");
    assert!(!sftp(&server, "pwd\n").status.success());
    assert!(server.path("home/used").exists());
}
