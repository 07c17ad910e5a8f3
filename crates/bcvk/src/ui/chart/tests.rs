use bcvk_contract::status::Timestamp;

use super::*;

fn span(place: Place, name: &str, from: u64, to: u64, critical: bool) -> Span {
    Span {
        place,
        name: name.to_owned(),
        from: from * 1000,
        to: to * 1000,
        critical,
        starting: false,
        failed: false,
    }
}

/// Makes a boot with times in milliseconds.
fn timeline() -> Timeline {
    use Place::{Guest, Host, Session, Unit};
    let mut spans = vec![
        span(Host, "bcvk plans", 0, 310, true),
        span(Host, "podman starts the container", 310, 920, true),
        span(Host, "supervisor prepares", 920, 1490, true),
        span(Host, "QEMU starts the kernel", 1490, 2480, true),
        span(Guest, "kernel", 2480, 6120, true),
        span(Guest, "initramfs", 6120, 13_870, true),
        span(Guest, "systemd reads its units", 13_870, 15_400, true),
        span(Unit, "-.mount", 13_880, 13_880, false),
        span(Unit, "systemd-journald.service", 15_510, 16_950, false),
        span(
            Unit,
            "systemd-tmpfiles-setup-dev-early.service",
            16_100,
            16_900,
            true,
        ),
        span(Unit, "short.service", 16_100, 16_120, false),
        span(Unit, "sysinit.target", 18_010, 18_010, true),
        span(Unit, "broken.service", 18_100, 18_130, false),
        span(Unit, "NetworkManager.service", 18_200, 21_000, true),
        span(Unit, "slow.service", 18_300, 23_800, false),
        span(Unit, "ssh.service", 21_020, 22_250, true),
        span(Session, "sshd answers", 22_250, 22_410, true),
        span(Session, "true", 22_410, 23_800, true),
    ];
    for span in &mut spans {
        span.failed = span.name == "broken.service";
        span.starting = span.name == "slow.service";
    }
    Timeline {
        begin: Timestamp(1),
        ready: 22_410_000,
        end: 23_800_000,
        uncertainty: Some(21_000),
        resumed: false,
        path_known: true,
        spans,
    }
}

fn chart(timeline: &Timeline, all: bool) -> Chart<'_> {
    Chart {
        image: "localhost/mybootc",
        name: "testvm",
        timeline,
        all,
    }
}

#[test]
fn a_boot_in_lines() {
    let timeline = timeline();
    insta::assert_snapshot!(chart(&timeline, false).text(80));
    insta::assert_snapshot!(chart(&timeline, true).text(120));
}

#[test]
fn lines_fit_the_terminal_and_have_no_escapes() {
    let timeline = timeline();
    for width in [60, 80, 100, 200] {
        let text = chart(&timeline, true).text(width);
        let (_, lines) = text.split_once("\n\n").expect("a head");
        let (lines, _) = lines.split_once("\n\n").expect("a foot");
        let longest = lines.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(width), "{width}: {longest:?}\n{text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
    }
    // A terminal of one column is not supported, but must not cause a panic.
    assert!(!chart(&timeline, true).text(1).is_empty());
}

#[test]
fn a_boot_as_a_picture() {
    let timeline = timeline();
    insta::assert_snapshot!(chart(&timeline, false).svg());
}

/// Returns the name, left and right edge, and line of each text, as wide as it can be.
fn texts(svg: &str) -> Vec<(String, f64, f64, f64)> {
    let document = roxmltree::Document::parse(svg).expect("XML");
    let number = |node: &roxmltree::Node<'_, '_>, name: &str| -> Option<f64> {
        node.attribute(name).and_then(|value| value.parse().ok())
    };
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name("text"));
    texts
        .map(|node| {
            let text = node.text().unwrap_or_default();
            let size = number(&node, "font-size").unwrap_or(12.0);
            let width: f64 = text.chars().map(|_| size * 0.62).sum();
            let x = number(&node, "x").expect("x");
            let left = match node.attribute("text-anchor") {
                Some("end") => x - width,
                Some("middle") => x - width / 2.0,
                _ => x,
            };
            (
                text.to_owned(),
                left,
                left + width,
                number(&node, "y").expect("y"),
            )
        })
        .collect()
}

#[test]
fn nothing_is_cut_off_and_no_words_overlap() {
    let long = "very-".repeat(40);
    let mut many = timeline();
    for n in 0..150 {
        let name = format!("{long}{n}.service");
        many.spans
            .push(span(Place::Unit, &name, 15_000 + n, 23_800 - n, n % 2 == 0));
    }
    many.spans.sort_by_key(|span| span.place);
    let mut close = timeline();
    close.ready = close.end - 1000;
    let mut early = timeline();
    early.ready = 1;
    for timeline in [timeline(), many, close, early] {
        let texts = texts(&chart(&timeline, true).svg());
        for (text, left, right, _) in &texts {
            assert!(
                *left >= 0.0 && *right <= 1200.0,
                "{text}: {left} to {right}"
            );
        }
        for (n, (a, a_left, a_right, a_y)) in texts.iter().enumerate() {
            for (b, b_left, b_right, b_y) in &texts[n + 1..] {
                let apart = a_right <= b_left || b_right <= a_left || (a_y - b_y).abs() >= 11.0;
                assert!(apart, "{a:?} is on {b:?}");
            }
        }
    }
}

#[test]
fn a_guest_cannot_put_anything_into_the_picture() {
    let mut timeline = timeline();
    timeline.spans[8].name = "</text><script>alert('&\"')</script>\u{ffff}".to_owned();
    let hostile = Chart {
        image: "x/<y>&amp;\u{1b}[31m",
        name: "n",
        timeline: &timeline,
        all: true,
    };
    let svg = hostile.svg();
    assert!(!svg.contains("<script"), "{svg}");
    let document = roxmltree::Document::parse(&svg).expect("XML");
    let title = document
        .descendants()
        .find(|node| node.has_tag_name("title"));
    assert_eq!(
        title.and_then(|node| node.text()),
        Some("Boot of x/<y>&amp;")
    );
    let shown = texts(&svg);
    assert!(
        shown
            .iter()
            .any(|(text, ..)| text.starts_with("</text><script>"))
    );
}

#[test]
fn steps_of_the_axis_are_round() {
    for (end, most, words) in [
        (23_800_000, 5, "0, 5 s, 10 s, 15 s, 20 s"),
        (2_300_000, 5, "0, 500 ms, 1 s, 1.5 s, 2 s"),
        (
            900_000,
            9,
            "0, 100 ms, 200 ms, 300 ms, 400 ms, 500 ms, 600 ms, 700 ms, 800 ms, 900 ms",
        ),
        (196_000_000, 4, "0, 50 s, 100 s, 150 s"),
        (0, 4, "0"),
    ] {
        let ticks: Vec<String> = ticks(end, most).into_iter().map(tick).collect();
        assert_eq!(ticks.join(", "), words);
    }
}

#[test]
fn times_and_names_are_short() {
    for (time, words) in [
        (0, "0 ms"),
        (999_499, "999 ms"),
        (999_500, "1.00 s"),
        (12_345_678, "12.35 s"),
    ] {
        assert_eq!(seconds(time), words);
    }
    assert_eq!(cut("systemd-journald.service", 11), "syste…rvice");
    assert_eq!(cut("short", 5), "short");
}
