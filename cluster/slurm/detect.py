"""A first profile for the cluster at hand, from what sinfo, scontrol and sacctmgr say."""

import getpass
import re
from typing import Any

import yaml

from cluster.profile import Partition, Profile
from cluster.slurm.commands import SlurmError, run

SHARE = 0.95
"""Of a node's memory what jobs may ask for, where the partition does not say: the rest is the system's."""
HEADER = """# yates submit grids/alignment.yaml --on slurm --profile {name}
#
# Written by `yates profile detect`: what this cluster says of itself. Look it over: which account pays, which
# partitions to use (the first that holds a stage takes it), and the lines that make a node ready (`setup`).
"""


def detect_profile(name: str) -> Profile:
    """The profile that the cluster's own answers describe.

    Raises:
        SlurmError: Slurm is not installed here, or its controller does not answer.
    """
    partitions = _partitions()
    if not partitions:
        raise SlurmError("sinfo lists no partition that is up")
    return Profile(name=name, partitions=tuple(partitions), account=_default_account())


def profile_text(profile: Profile) -> str:
    """The profile as YAML, with what differs from the defaults and a word on each part."""
    values: dict[str, Any] = profile.model_dump(mode="json", exclude_defaults=True)
    values.pop("name", None)
    body = yaml.safe_dump(values, sort_keys=False, default_flow_style=False)
    return HEADER.format(name=profile.name) + body


def _partitions() -> list[Partition]:
    """Partitions that are up, the default one first; of unequal nodes the largest kind counts."""
    layout = "%P|%a|%l|%D|%c|%m|%G"
    found: dict[str, Partition] = {}
    default = ""
    for line in run(["sinfo", "--noheader", "-o", layout]).splitlines():
        partition, available, limit, nodes, cpus, memory, gres = line.strip().split("|")
        name = partition.rstrip("*")
        if available != "up":
            continue
        default = name if partition.endswith("*") else default
        one = _partition(name, limit, nodes, cpus, memory, gres)
        known = found.get(name)
        found[name] = one if known is None else _larger(known, one)
    return sorted(found.values(), key=lambda one: one.name != default)


def _partition(name: str, limit: str, nodes: str, cpus: str, memory: str, gres: str) -> Partition:
    gpu = re.search(r"gpu:(?:([^:,()]+):)?(\d+)(?=[(,]|$)", gres)
    return Partition(
        name=name,
        gpus=int(gpu[2]) if gpu else 0,
        gpu_type=gpu[1] if gpu else None,
        cpus=_digits(cpus),
        memory_gb=round(_digits(memory) / 1024 * SHARE, 1),
        hours=_hours(limit),
        nodes=int(nodes),
    )


def _larger(known: Partition, other: Partition) -> Partition:
    best = max(known, other, key=lambda one: (one.gpus, one.memory_gb or 0.0))
    return best.model_copy(update={"nodes": (known.nodes or 0) + (other.nodes or 0)})


def _digits(text: str) -> int:
    """`64+` stands for nodes with at least 64."""
    found = re.match(r"\d+", text)
    return max(1, int(found[0])) if found else 1


def _hours(limit: str) -> float | None:
    """Slurm's `1-12:00:00`, `04:00:00` or `30:00`; None for `infinite`."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return round(24 * days + hours + minutes / 60 + seconds / 3600, 4)


def _default_account() -> str | None:
    """The user's default account, or None where there is no accounting."""
    command = ["sacctmgr", "--noheader", "--parsable2", "show", "user", getpass.getuser()]
    try:
        lines = run([*command, "format=DefaultAccount"]).split()
    except SlurmError:
        return None
    return lines[0] if lines else None
