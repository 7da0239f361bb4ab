"""Who a process is, and whether it still lives."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.grids import ROOT
from workers.processes import ProcessIdentity


@pytest.fixture
def other() -> Iterator[tuple["subprocess.Popen[bytes]", ProcessIdentity]]:
    """Another live process, and who it says it is."""
    code = (
        "import json; from workers.processes import *; "
        "print(json.dumps(ProcessIdentity.own().as_record()), flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    identity = ProcessIdentity.from_record(json.loads(process.stdout.readline()))
    yield process, identity
    process.kill()
    process.wait()


def test_a_running_process_lives(other: tuple["subprocess.Popen[bytes]", ProcessIdentity]) -> None:
    process, identity = other
    assert identity.process == process.pid
    assert identity.lives() is True
    assert identity != ProcessIdentity.own()


def test_a_killed_process_is_dead_even_before_anyone_waits_for_it(
    other: tuple["subprocess.Popen[bytes]", ProcessIdentity],
) -> None:
    process, identity = other
    process.kill()
    end = time.monotonic() + 5.0
    while identity.lives() and time.monotonic() < end:
        time.sleep(0.01)
    assert identity.lives() is False
    process.wait()
    assert identity.lives() is False


def test_a_later_process_under_the_same_number_is_another() -> None:
    own = ProcessIdentity.own()
    assert own.lives() is True
    assert replace(own, started=own.started - 60.0).lives() is False


OWN_BOOT = ProcessIdentity.own().boot.partition("/")[0]


@pytest.mark.parametrize("change", [{"host": "another-node"}, {"boot": f"{OWN_BOOT}/another-container"}])
def test_of_another_machine_or_container_nothing_is_known(change: dict[str, str]) -> None:
    assert replace(ProcessIdentity.own(), **change).lives() is None
    assert replace(ProcessIdentity.own(), process=2**22 + 7, **change).lives() is None


@pytest.mark.skipif(not OWN_BOOT, reason="the kernel gives no boot id here")
def test_what_ran_before_this_machine_was_booted_is_dead() -> None:
    own = ProcessIdentity.own()
    assert replace(own, boot="an-earlier-boot/17").lives() is False
    assert replace(own, boot="an-earlier-boot/17", host="another-node").lives() is None


def test_a_number_that_no_process_has_is_dead() -> None:
    assert replace(ProcessIdentity.own(), process=2**30).lives() is False


def test_an_identity_reads_back_from_json_and_from_an_attempt_record() -> None:
    own = ProcessIdentity.own()
    record = json.loads(json.dumps(own.as_record()))
    assert ProcessIdentity.from_record(record) == own
    assert ProcessIdentity.from_record({**record, "stage": "ab", "ending": None}) == own
    assert record["process"] == os.getpid()


def test_the_identity_of_a_process_does_not_change_while_it_runs() -> None:
    assert ProcessIdentity.own() == ProcessIdentity.own()
