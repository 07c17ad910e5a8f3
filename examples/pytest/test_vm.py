"""Examples of tests of an image."""


def test_the_system_is_up(vm):
    assert vm.systemctl("is-system-running", "--wait") == "running\n"


def test_no_unit_has_failed(vm):
    assert vm.failed_units() == []


def test_files_go_in_and_come_back(vm, tmp_path):
    (tmp_path / "in").write_text("hello\n")
    vm.copy_to(tmp_path / "in", "/tmp/greeting")
    vm.succeed("tr a-z A-Z </tmp/greeting >/tmp/answer")
    vm.copy_from("/tmp/answer", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "HELLO\n"


def test_nothing_of_another_test_is_left(vm):
    vm.fail("test -e /tmp/greeting")


def test_a_command_that_fails_is_seen(vm):
    assert vm.execute("exit 3").returncode == 3
