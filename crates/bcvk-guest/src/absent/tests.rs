//! Tests of the devices that a VM has, and of tables and units without the others.

use bcvk_contract::examples::example;
use bcvk_contract::spec::Var;

use super::*;
use crate::facts::parse_unit;
use crate::rooted::Rooted;

fn spec(disks: bool) -> VmSpec {
    let mut spec = example();
    if !disks {
        spec.disks.clear();
    }
    spec.kargs.clear();
    spec.var = Var::Shared;
    spec.shares[0].tag = "mount_project".to_owned();
    spec.disks
        .iter_mut()
        .for_each(|disk| "data".clone_into(&mut disk.name));
    spec
}

fn empty() -> GuestFacts {
    let image = tempfile::tempdir().expect("temporary directory");
    GuestFacts::read(&Rooted::new(image.path()).expect("root")).expect("facts of an empty tree")
}

#[test]
fn devices_by_all_of_their_names() {
    use Presence::{Absent, Possible, Present};

    for (device, without, with) in [
        ("UUID=3333-1111", Absent, Possible),
        ("UUID=\"3333-1111\"", Absent, Possible),
        ("LABEL=data", Absent, Possible),
        ("PARTUUID=1", Absent, Possible),
        ("PARTLABEL=boot", Absent, Possible),
        ("/dev/disk/by-label/x", Absent, Possible),
        ("/dev/disk/by-id/virtio-data", Absent, Present),
        ("/dev/disk/by-id/virtio-data-part1", Absent, Possible),
        ("/dev/disk/by-id/virtio-other", Absent, Absent),
        ("/dev/disk/by-id/virtio-bcvk-swap", Present, Present),
        ("/dev/sda", Absent, Absent),
        ("/dev/sdb12", Absent, Absent),
        ("/dev/nvme0n1p3", Absent, Absent),
        ("/dev/vda", Present, Present),
        ("/dev/vdb", Absent, Present),
        ("/dev/vdb2", Absent, Possible),
        ("/dev/vdc", Absent, Absent),
        ("/dev/mapper/luks-1", Absent, Possible),
        ("/dev/mapper/control", Present, Present),
        ("/dev/md127", Absent, Possible),
        ("/dev/md/0", Absent, Possible),
        ("/dev/dm-0", Absent, Possible),
        ("/dev/vg/lv", Absent, Possible),
        ("/dev/zram0", Present, Present),
        ("/dev/loop0", Present, Present),
        ("/dev/shm/x", Present, Present),
        ("/dev/ttyS0", Present, Present),
        ("/dev/virtio-ports/org.qemu.guest_agent.0", Present, Present),
        ("server:/export", Present, Present),
        ("tmpfs", Present, Present),
    ] {
        for (disks, presence) in [(false, without), (true, with)] {
            let machine = Machine::new(&spec(disks));
            assert_eq!(machine.has_device(device), presence, "{device} {disks}");
        }
    }
    let with_var = VmSpec {
        var: example().var,
        ..spec(false)
    };
    let machine = Machine::new(&with_var);
    assert_eq!(machine.has_device("/dev/vdb"), Present);
    let machine = Machine::new(&spec(false));
    assert_eq!(machine.has_source("mount_project", "virtiofs"), Present);
    assert_eq!(machine.has_source("other", "virtiofs"), Absent);
    assert_eq!(machine.has_source("other", "9p"), Absent);
    assert_eq!(machine.has_source("/swapfile", "swap"), Absent);
    assert_eq!(machine.has_source("/srv/x.img", "ext4"), Present);
}

const FSTAB: &str = "\
# the image's
UUID=1 / xfs defaults 0 0
UUID=2 none swap sw 0 0
LABEL=boot /boot ext4 defaults 1 2
/dev/sda1 /boot/efi vfat umask=0077,shortname=winnt 0 2
LABEL=my\\040data /srv/my\\040data ext4 defaults 0 0
/srv/my\\040data/x /srv/x none bind 0 0
LABEL=later /mnt auto noauto 0 0
LABEL=maybe /opt/maybe xfs nofail,x-systemd.device-timeout=300 0 0
LABEL=auto /opt/auto xfs noauto,x-systemd.automount 0 0
tmpfs /var/cache tmpfs size=1G 0 0
server:/export /home nfs _netdev 0 0
";

#[test]
fn a_table_of_file_systems_without_disks() {
    let table = tables::fstab(FSTAB, &Machine::new(&spec(false)));
    assert_eq!(
        table.names,
        [
            "/ on UUID=1",
            "swap on UUID=2",
            "/boot on LABEL=boot",
            "/boot/efi on /dev/sda1",
            "/srv/my data on LABEL=my data",
            "/srv/x on /srv/my data/x",
            "/opt/auto on LABEL=auto",
        ]
    );
    let left = "# the image's\n\
                LABEL=later /mnt auto noauto 0 0\n\
                tmpfs /var/cache tmpfs size=1G 0 0\n\
                server:/export /home nfs _netdev 0 0\n";
    assert_eq!(table.text.as_deref(), Some(left));
    let same = tables::fstab(left, &Machine::new(&spec(false)));
    assert_eq!(same, tables::Table::default());
}

#[test]
fn what_may_be_on_a_disk_of_the_users_is_waited_for_but_not_needed() {
    let table = tables::fstab(FSTAB, &Machine::new(&spec(true)));
    let text = table.text.expect("another table");
    let line = |start: &str| text.lines().find(|line| line.starts_with(start));
    assert_eq!(line("UUID=1"), None);
    assert_eq!(line("UUID=2"), Some("UUID=2 none swap sw,nofail 0 0"));
    assert_eq!(
        line("LABEL=boot"),
        Some("LABEL=boot /boot ext4 defaults,nofail,x-systemd.before=local-fs.target 1 2")
    );
    assert_eq!(
        line("LABEL=maybe"),
        Some("LABEL=maybe /opt/maybe xfs nofail 0 0")
    );
    assert_eq!(line("/dev/sda1"), None);
    assert_eq!(
        line("/srv/my"),
        Some("/srv/my\\040data/x /srv/x none bind,nofail,x-systemd.before=local-fs.target 0 0")
    );

    let crypttab = "luks UUID=1\nother UUID=2 /key discard\n";
    let table = tables::crypttab(crypttab, &Machine::new(&spec(true)));
    let made = "luks UUID=1 none nofail\nother UUID=2 /key discard,nofail\n";
    assert_eq!(table.text.as_deref(), Some(made));
    assert!(table.names.is_empty());
}

#[test]
fn encrypted_devices_that_are_not_there() {
    let text = "# a comment\nluks-1 UUID=1 none discard\nluks-2 UUID=2 - nofail\n\
                luks-3 /dev/sdb - noauto\nimage /var/image.luks /key\n";
    let table = tables::crypttab(text, &Machine::new(&spec(false)));
    assert_eq!(table.names, ["encrypted luks-1 on UUID=1"]);
    let left = "# a comment\nluks-3 /dev/sdb - noauto\nimage /var/image.luks /key\n";
    assert_eq!(table.text.as_deref(), Some(left));
}

#[test]
fn units_that_name_devices() {
    let unit = |name: &str, text: &str| parse_unit(name, name.to_owned(), text);
    let facts = GuestFacts {
        wanted_units: vec![
            unit(
                "srv.mount",
                "[Mount]\nWhat=/dev/disk/by-label/srv\nWhere=/srv\n",
            ),
            unit("tmp.mount", "[Mount]\nWhat=tmpfs\nWhere=/tmp\nType=tmpfs\n"),
            unit("x.swap", "[Swap]\nWhat=LABEL=my swap\n"),
            unit(
                "a.service",
                "[Unit]\nRequires=dev-disk-by\\x2duuid-1\\x2d2.device dev-ttyS0.device dev-%i.device\n",
            ),
        ],
        ..empty()
    };
    let absent = Absent::new(&spec(false), &facts, &[]);
    assert_eq!(absent.mounts, ["srv.mount"]);
    let devices: Vec<_> = absent.devices.iter().map(String::as_str).collect();
    assert_eq!(
        devices,
        [
            r"dev-disk-by\x2dlabel-my\x20swap.device",
            r"dev-disk-by\x2duuid-1\x2d2.device",
        ]
    );
    assert_eq!(
        absent.notice().as_deref(),
        Some(
            "the image's boot does not wait for what this VM does not have: srv.mount \
             (/dev/disk/by-label/srv), x.swap (LABEL=my swap), a.service (/dev/disk/by-uuid/1-2)"
        )
    );
}

#[test]
fn kernel_arguments_that_name_absent_devices() {
    let from_image = Karg::split(
        "quiet resume=UUID=1 resume_offset=7 rd.luks.uuid=luks-1 luks.options=discard rd.lvm.lv=vg/root \
         rd.md.uuid=1 boot=LABEL=boot fips=1 rd.luks=0 cryptdevice=UUID=2:root console=ttyS0 \
         systemd.mount-extra=/dev/sdb1:/srv:ext4 systemd.mount-extra=tmpfs:/x:tmpfs",
    )
    .expect("kargs");
    let absent = Absent::new(&spec(false), &empty(), &from_image);
    let left: Vec<String> = absent
        .remaining(&from_image)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        left,
        [
            "quiet",
            "fips=1",
            "rd.luks=0",
            "console=ttyS0",
            "systemd.mount-extra=tmpfs:/x:tmpfs"
        ]
    );
    let notice = absent.notice().expect("a notice");
    assert!(notice.contains("kernel argument resume=UUID=1, kernel argument rd.luks.uuid"));
    assert!(!notice.contains("resume_offset"), "{notice}");
}

#[test]
fn a_vm_that_boots_as_a_host_does_leaves_out_nothing() {
    let facts = GuestFacts {
        fstab: FSTAB.to_owned(),
        asking: vec!["initial-setup.service".to_owned()],
        asks_for_settings: true,
        repart: true,
        ..empty()
    };
    let full = VmSpec {
        fidelity: Fidelity::Full,
        ..spec(false)
    };
    assert_eq!(Absent::new(&full, &facts, &[]), Absent::default());
    assert_eq!(Absent::default().notice(), None);
    let fast = Absent::new(&spec(false), &facts, &[]);
    assert_eq!(
        fast.services,
        ["initial-setup.service", "systemd-repart.service"]
    );
    let notice = fast.notice().expect("a notice");
    assert!(
        notice.contains("systemd-firstboot, which asks at the console"),
        "{notice}"
    );
}

#[test]
fn a_long_list_is_cut() {
    let fstab: String = (0..NAMED + 3)
        .map(|i| format!("LABEL={i} /srv/{i} ext4\n"))
        .collect();
    let facts = GuestFacts { fstab, ..empty() };
    let notice = Absent::new(&spec(false), &facts, &[])
        .notice()
        .expect("a notice");
    assert!(
        notice.ends_with("/srv/15 on LABEL=15, and 3 more"),
        "{notice}"
    );
}
