"""What is read out of squeue and sacct, from commands that print what Slurm prints."""

from pathlib import Path

import pytest

from cluster.profile import Partition, Profile
from cluster.slurm.commands import Unreachable
from cluster.slurm.detect import detect_profile, profile_text
from cluster.slurm.limits import read_limits
from cluster.slurm.queue import Queue, read_accounting
from orchestrator.profiles import read_profile
from tests.cluster.slurm.test_commands import script

ROWS = [
    ("12", "0", "yates-a", "RUNNING", "None", "n1", "0"),
    ("12", "1", "yates-a", "PENDING", "Resources", "", "2"),
    ("12", "2", "yates-a", "COMPLETING", "None", "n2", "0"),
    ("13", "N/A", "yates-b", "COMPLETED", "None", "n3", "0"),
    ("14", "0", "yates-a", "PENDING", "launch failed requeued held", "", "1"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    listed = "\n".join("|".join(f"{field:<30}" for field in row) + "|" for row in ROWS)
    script(tmp_path, "squeue", f"cat <<'END'\n{listed}\nEND")
    return tmp_path


def test_elements_are_read_with_their_state_and_reason(folder: Path) -> None:
    elements = Queue.read().elements
    assert [one.id for one in elements] == ["12_0", "12_1", "12_2", "13_0", "14_0"]
    assert [one.alive for one in elements] == [True, True, False, False, True]
    assert (elements[1].reason, elements[1].restarts, elements[0].node) == ("Resources", 2, "n1")
    assert [one.stuck for one in elements] == [False, False, False, False, True]


def test_a_number_that_was_handed_out_twice_is_told_apart_by_its_name(folder: Path) -> None:
    queue = Queue.read()
    assert len(queue.of("12", "yates-a")) == 3
    assert queue.of("12", "yates-b") == []


def test_a_job_whose_number_was_never_recorded_is_found_by_its_name(folder: Path) -> None:
    assert {one.job for one in Queue.read().of(None, "yates-a")} == {"12", "14"}


def test_ended_jobs_do_not_count_against_the_limit(folder: Path) -> None:
    assert Queue.read().submitted == 4


def test_a_silent_controller_is_no_empty_queue(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(folder, "squeue", 'echo "Unable to contact slurm controller" >&2; exit 1')
    monkeypatch.setattr("cluster.slurm.commands.time.sleep", lambda seconds: None)
    with pytest.raises(Unreachable):
        Queue.read()


def test_every_run_of_a_requeued_job_is_accounted(folder: Path) -> None:
    script(
        folder, "sacct", "printf '12_0|NODE_FAIL|0:0|a|b|n1\\n12_0|CANCELLED by 0|0:15|b|c|n2\\nbroken\\n'"
    )
    (runs,) = read_accounting(["12"]).values()
    assert [run.state for run in runs] == ["NODE_FAIL", "CANCELLED"]


def test_without_accounting_nothing_is_known_of_ends(folder: Path) -> None:
    script(folder, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert read_accounting(["12"]) == {}


CONFIG = "echo 'MaxArraySize            = 1001'"


def test_the_smallest_submit_limit_holds(folder: Path) -> None:
    script(folder, "scontrol", CONFIG)
    script(
        folder,
        "sacctmgr",
        'case "$*" in *assoc*) printf "lab|50||normal\\nother|5||normal\\n";; '
        '*) printf "normal|40|\\nfast|3|\\n";; esac',
    )
    plain = Profile(partitions=(Partition(name="main"),), account="lab")
    assert (read_limits(plain).array_size, read_limits(plain).submitted) == (1001, 40)
    assert read_limits(plain.model_copy(update={"qos": "fast"})).submitted == 3
    assert read_limits(plain.model_copy(update={"account": None})).submitted == 5


def test_without_accounting_only_the_array_size_limits(folder: Path) -> None:
    script(folder, "scontrol", CONFIG)
    script(folder, "sacctmgr", "exit 1")
    limits = read_limits(Profile(partitions=(Partition(name="main"),)))
    assert limits.submitted is None and limits.free(1000) is None


SINFO = """main*|up|1-00:00:00|8|64|515072|gpu:a100:4(S:0-1)
main*|up|1-00:00:00|2|128+|1031168|gpu:a100:8(S:0-1)
long|up|infinite|20|32|128000|(null)
odd|up|infinite|1|8|32000|gpu:3090:4
old|down|infinite|3|8|32000|(null)
short|up|30:00|1|4|16000|gpu:2"""


def test_a_cluster_describes_itself(folder: Path, tmp_path: Path) -> None:
    script(folder, "sinfo", f"cat <<'END'\n{SINFO}\nEND")
    script(folder, "sacctmgr", "echo physics")
    found = detect_profile("here")
    main, long, odd, short = found.partitions
    assert (odd.gpus, odd.gpu_type) == (4, "3090")
    assert (main.name, main.gpus, main.gpu_type, main.cpus, main.hours, main.nodes) == (
        "main",
        8,
        "a100",
        128,
        24,
        10,
    )
    assert (long.gpus, long.hours, short.gpu_type, short.hours) == (0, None, None, 0.5)
    assert found.account == "physics"
    path = tmp_path / "here.yaml"
    path.write_text(profile_text(found))
    assert read_profile(path) == found
