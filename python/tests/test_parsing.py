"""Parts that need no VM."""

from __future__ import annotations

import pytest

from pytest_bcvk import Result, TimedOut
from pytest_bcvk.bcvk import failure
from pytest_bcvk.process import run
from pytest_bcvk.vm import listening

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0F02000A:0016 0202000A:8C3E 01 00000000:00000000 00:00000000 00000000     0        0 2 1
  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:0
"""


def test_only_sockets_that_listen_count() -> None:
    assert listening(TABLE) == {631, 8080}
    assert listening("") == set()


def test_a_failure_has_all_that_bcvk_says() -> None:
    event = {
        "Message": "the VM did not become ready",
        "Causes": ["a cause"],
        "FailedUnits": ["a.service"],
        "Hint": "do this",
        "ConsoleTail": ["last line"],
    }
    lines = ["the VM did not become ready", "a cause", "a.service", "hint: do this", "last line"]
    assert failure(event).splitlines() == lines
    assert "hint" not in failure({**event, "Hint": None})


def test_a_result_names_the_command_and_what_it_said() -> None:
    assert str(Result("false", 1, "", " \n")) == "`false` ended with exit code 1"
    assert str(Result("x", 2, "a\n", "b\n")).splitlines()[1:] == ["--- stdout", "a", "--- stderr", "b"]


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(TimedOut, match=r"`sleep 60` took longer than 0.1 s"):
        run(["sleep", "60"], 0.1)
