//! A registry with one image, from which podman pulls.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::cmd::Cmd;
use crate::limit;
use crate::sandbox::Sandbox;

/// A server on the loopback address that answers what a pull asks (OCI Distribution Specification,
/// "Pulling content"). It lives as long as its test.
#[derive(Debug)]
pub struct Registry {
    image: String,
    configuration: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    /// Serves a copy of an image of the sandbox's user, with the same name.
    #[track_caller]
    #[must_use]
    pub fn with(sandbox: &Sandbox, image: &str) -> Self {
        let layout = sandbox.make_dir("registry").join("layout");
        let save = ["save", "--quiet", "--format=oci-dir", "--output"];
        let _ = sandbox
            .podman(save)
            .arg(&layout)
            .arg(image)
            .limit(limit::BOOT)
            .run()
            .expect_success();
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let configuration = sandbox.path().join("registries.conf");
        let insecure = format!("[[registry]]\nlocation = \"{address}\"\ninsecure = true\n");
        fs::write(&configuration, insecure).expect("written");
        let asked = Arc::default();
        let served = Content {
            layout,
            asked: Arc::clone(&asked),
        };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // podman asks for several things at once.
                let served = served.clone();
                thread::spawn(move || served.answer(&client));
            }
        });
        let name = image.rsplit('/').next().unwrap_or(image);
        Self {
            image: format!("{address}/{name}:latest"),
            configuration,
            asked,
        }
    }

    /// Returns the name by which the image is pulled.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Lets podman talk to the registry without TLS.
    pub fn known_to(&self, command: Cmd) -> Cmd {
        command.env("CONTAINERS_REGISTRIES_CONF", &self.configuration)
    }

    /// Returns the paths that have been asked for since the last call.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

/// An image as files (OCI Image Layout Specification), and a list of requests.
#[derive(Debug, Clone)]
struct Content {
    layout: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Content {
    fn answer(&self, client: &TcpStream) -> io::Result<()> {
        let mut lines = BufReader::new(client).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        // The headers change nothing.
        while lines
            .next()
            .transpose()?
            .is_some_and(|line| !line.is_empty())
        {}
        let mut words = request.split(' ');
        let (method, path) = (words.next(), words.next().unwrap_or_default());
        self.asked.lock().expect("no panic").push(path.to_owned());
        let found = self.find(path);
        let (status, kind, body) = match &found {
            Some((kind, body)) => ("200 OK", *kind, &body[..]),
            None => ("404 Not Found", "text/plain", &b""[..]),
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let mut client = client;
        client.write_all(head.as_bytes())?;
        if method != Some("HEAD") {
            client.write_all(body)?;
        }
        Ok(())
    }

    /// Returns the media type and the content of a path.
    fn find(&self, path: &str) -> Option<(&'static str, Vec<u8>)> {
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        if path == "/v2/" {
            return Some(("application/json", b"{}".to_vec()));
        }
        let (above, reference) = path.rsplit_once('/')?;
        let blob = |digest: &str| fs::read(self.layout.join("blobs/sha256").join(digest)).ok();
        let digest = reference
            .strip_prefix("sha256:")
            .filter(|digest| is_hex(digest));
        match (above.rsplit('/').next()?, digest) {
            ("blobs", Some(digest)) => Some(("application/octet-stream", blob(digest)?)),
            ("manifests", Some(digest)) => Some((manifest, blob(digest)?)),
            ("manifests", None) => Some((manifest, blob(&newest(&self.layout)?)?)),
            _ => None,
        }
    }
}

/// Returns the digest of the manifest of the layout's one image.
fn newest(layout: &Path) -> Option<String> {
    let index = fs::read(layout.join("index.json")).ok()?;
    let index: serde_json::Value = serde_json::from_slice(&index).ok()?;
    let digest = index["manifests"][0]["digest"].as_str()?;
    Some(digest.strip_prefix("sha256:")?.to_owned())
}

fn is_hex(digest: &str) -> bool {
    digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}
