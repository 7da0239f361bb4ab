"""What the lab's daemons read: a cluster on the loopback alone, without cgroups, with short timers."""

import getpass
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class LabSettings:
    """Size and ports of a lab. Everything it writes lies in `root`.

    Ports on 127.0.0.1: `port` + 1 slurmctld, + 2 slurmdbd, + 3 MariaDB, from + 11 one for each node.
    `extra` are further lines of slurm.conf, `partitions` replaces the two usual ones.
    """

    root: Path
    nodes: int = 4
    cpus: int = 4
    gpus: int = 2
    memory_mb: int = 8000
    accounting: bool = True
    port: int = 17000
    extra: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    max_array_size: int = 10001

    @property
    def configuration(self) -> Path:
        """slurm.conf: what SLURM_CONF must name."""
        return self.root / "etc" / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        """Where munged listens."""
        return self.root / "munge" / "munge.socket"

    @property
    def node_names(self) -> list[str]:
        """n1, n2, …"""
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which commands talk to this lab."""
        return {**os.environ, "SLURM_CONF": str(self.configuration)}

    def node_port(self, node: str) -> int:
        """The port of a node's slurmd."""
        return self.port + 10 + int(node[1:])


DEFAULT_PARTITIONS = (
    "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 PriorityTier=10 PreemptMode=OFF",
    "PartitionName=low Nodes=ALL MaxTime=INFINITE DefaultTime=10 PriorityTier=1 PreemptMode=REQUEUE GraceTime=10",
)


def slurm_conf(settings: LabSettings) -> str:
    """slurm.conf. A crashed node is noticed after seconds, a requeued job starts again soon."""
    root, user = settings.root, getpass.getuser()
    host = socket.gethostname().split(".")[0]
    first, last = settings.node_port("n1"), settings.node_port(f"n{settings.nodes}")
    gres = f" Gres=gpu:{settings.gpus}" if settings.gpus else ""
    lines = [
        "ClusterName=lab",
        f"SlurmctldHost={host}(127.0.0.1)",
        f"SlurmUser={user}",
        f"SlurmdUser={user}",
        f"SlurmctldPort={settings.port + 1}",
        "AuthType=auth/munge",
        "CredType=cred/munge",
        f"AuthInfo=socket={settings.munge_socket},cred_expire=5",
        "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny",
        f"StateSaveLocation={root}/state",
        f"SlurmdSpoolDir={root}/spool/%n",
        f"SlurmctldPidFile={root}/run/slurmctld.pid",
        f"SlurmdPidFile={root}/run/slurmd-%n.pid",
        f"SlurmctldLogFile={root}/log/slurmctld.log",
        f"SlurmdLogFile={root}/log/slurmd-%n.log",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "MpiDefault=none",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=task=1",
        "SlurmdParameters=config_overrides",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "GresTypes=gpu",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=sched_interval=5,batch_sched_delay=0,sched_min_interval=0,bf_interval=2,"
        "bf_min_age_reserve=0",
        "KillWait=3",
        "SlurmdTimeout=6",
        "SlurmctldTimeout=10",
        "MessageTimeout=5",
        "InactiveLimit=0",
        "MinJobAge=600",
        "CompleteWait=0",
        "ReturnToService=2",
        "JobRequeue=1",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "SlurmctldParameters=preempt_send_user_signal",
        f"MaxArraySize={settings.max_array_size}",
        "MaxJobCount=20000",
        "DefMemPerCPU=100",
        *_accounting(settings),
        *settings.extra,
        f"NodeName=n[1-{settings.nodes}] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first}-{last}] "
        f"CPUs={settings.cpus} RealMemory={settings.memory_mb}{gres} State=UNKNOWN",
        *(f"{line} State=UP" for line in settings.partitions or DEFAULT_PARTITIONS),
    ]
    return "\n".join(lines) + "\n"


def _accounting(settings: LabSettings) -> list[str]:
    if not settings.accounting:
        return ["AccountingStorageType=accounting_storage/none"]
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=localhost",
        f"AccountingStoragePass={settings.munge_socket}",
        f"AccountingStoragePort={settings.port + 2}",
        "AccountingStorageTRES=gres/gpu",
        "AccountingStorageEnforce=associations,limits,qos",
    ]


def slurmdbd_conf(settings: LabSettings) -> str:
    """slurmdbd.conf, with MariaDB on the loopback behind it."""
    root = settings.root
    lines = [
        "AuthType=auth/munge",
        f"AuthInfo=socket={settings.munge_socket}",
        "DbdHost=localhost",
        "DbdAddr=127.0.0.1",
        f"DbdPort={settings.port + 2}",
        f"SlurmUser={getpass.getuser()}",
        f"LogFile={root}/log/slurmdbd.log",
        f"PidFile={root}/run/slurmdbd.pid",
        "StorageType=accounting_storage/mysql",
        "StorageHost=127.0.0.1",
        f"StoragePort={settings.port + 3}",
        "StorageUser=slurm",
        "StoragePass=slurm",
        "StorageLoc=slurm_acct_db",
        "CommitDelay=0",
    ]
    return "\n".join(lines) + "\n"


def gres_conf(settings: LabSettings, devices: str) -> str:
    """gres.conf: character devices that stand in for GPUs."""
    if not settings.gpus:
        return "AutoDetect=off\n"
    return f"AutoDetect=off\nNodeName=n[1-{settings.nodes}] Name=gpu File={devices}\n"


CGROUP_CONF = "CgroupPlugin=cgroup/v1\n"
"""Nothing of the machine's control groups is touched."""


@dataclass(frozen=True)
class Package:
    """A program that the lab runs, and the Debian packages that bring it."""

    program: str
    packages: tuple[str, ...] = field(default_factory=tuple)


PACKAGES = (
    Package("slurmctld", ("slurm-wlm",)),
    Package("munged", ("munge",)),
)
ACCOUNTING_PACKAGES = (
    Package("slurmdbd", ("slurmdbd", "slurm-wlm-mysql-plugin")),
    Package("mariadbd", ("mariadb-server",)),
)
