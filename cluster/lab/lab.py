"""Starting, stopping and breaking the lab.

As root every node has a host name and a hosts file of its own (namespaces), as on a real cluster, so that a process
on one node cannot look up those of another by number; as a plain user all nodes share the machine's name.
"""

import getpass
import os
import pwd
import secrets
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.lab.configuration import (
    ACCOUNTING_PACKAGES,
    CGROUP_CONF,
    PACKAGES,
    LabSettings,
    gres_conf,
    slurm_conf,
    slurmdbd_conf,
)

FOLDERS = ("etc", "run", "log", "state", "spool", "dev", "munge", "mysql")
SYSTEM_PATH = "/usr/sbin:/sbin"


class LabError(Exception):
    """The lab cannot be brought up; the message says what is missing or which daemon refused."""


@dataclass
class Lab:
    """One lab. Several run side by side with other roots and ports."""

    settings: LabSettings

    def up(self) -> None:
        """Start what is not running yet: munge, the accounting, the controller, the nodes.

        Raises:
            LabError: a package is missing, or a daemon does not come up.
        """
        install_packages(self.settings)
        try:
            self._start_all()
        except (subprocess.SubprocessError, OSError, KeyError) as error:
            raise LabError(f"the lab cannot be started here: {error}") from None

    def _start_all(self) -> None:
        self._write_configuration()
        self._start_munge()
        if self.settings.accounting:
            self._start_database()
            self._start_accounting()
        self.start_controller()
        for node in self.settings.node_names:
            self.start_node(node)
        _wait(30, self._ready, "the nodes to be idle", self.settings.root / "log" / "slurmctld.log")

    def down(self, purge: bool = False) -> None:
        """End all jobs and daemons; with `purge` remove everything that the lab wrote."""
        if self.alive("slurmctld"):
            with suppress(subprocess.SubprocessError, OSError):
                self.call("scancel", "--user", getpass.getuser(), timeout=10)
                _wait_quietly(6, lambda: not self.call("squeue", "-h", "-t", "running,completing").strip())
        for node in self.settings.node_names:
            self.crash_node(node)
        for name in ("slurmctld", "slurmdbd", "mysqld", "munged"):
            self._stop(name)
        if purge:
            shutil.rmtree(self.settings.root, ignore_errors=True)

    def start_controller(self) -> None:
        """Start slurmctld unless it runs."""
        if not self.alive("slurmctld"):
            self._daemon(["slurmctld"], "slurmctld")
        _wait(20, self._answers, "slurmctld", self.settings.root / "log" / "slurmctld.log")

    def kill_controller(self) -> None:
        """kill -9 slurmctld: what it has not saved is lost."""
        self._kill("slurmctld")

    def start_node(self, node: str) -> None:
        """Start a node's slurmd unless it runs."""
        if self.alive(f"slurmd-{node}"):
            return
        (self.settings.root / "spool" / node).mkdir(parents=True, exist_ok=True)
        command = ["slurmd", "-N", node]
        if separable():
            hosts = shlex.quote(str(self.settings.root / "etc" / "hosts"))
            script = (
                f"mount --bind {hosts} /etc/hosts && hostname {node} && exec {_program('slurmd')} -N {node}"
            )
            command = ["unshare", "--uts", "--mount", "sh", "-c", script]
        self._daemon(command, f"slurmd-{node}")

    def crash_node(self, node: str) -> None:
        """A power cut: slurmd, its steps and everything that they started end at once."""
        self._kill(f"slurmd-{node}")
        for process in list(self._processes_of(node)):
            with suppress(psutil.Error):
                process.kill()

    def cut_node(self, node: str) -> None:
        """kill -9 a node's slurmd alone: its steps live on, unknown to the controller."""
        self._kill(f"slurmd-{node}")

    def call(self, *command: str, timeout: float = 30.0) -> str:
        """The output of one of Slurm's commands in this lab.

        Raises:
            subprocess.CalledProcessError: it refused.
        """
        done = subprocess.run(
            command,
            env=self.settings.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        )
        return done.stdout

    def alive(self, name: str) -> bool:
        """Whether the daemon with this name runs."""
        process = self._process(name)
        try:
            return process is not None and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def _write_configuration(self) -> None:
        settings = self.settings
        for folder in FOLDERS:
            (settings.root / folder).mkdir(parents=True, exist_ok=True)
        etc = settings.root / "etc"
        (etc / "slurm.conf").write_text(slurm_conf(settings))
        (etc / "gres.conf").write_text(gres_conf(settings, self._devices()))
        (etc / "cgroup.conf").write_text(CGROUP_CONF)
        known = Path("/etc/hosts").read_text()
        (etc / "hosts").write_text(f"{known}\n127.0.0.1 {' '.join(settings.node_names)}\n")
        (settings.root / "env.sh").write_text(f"export SLURM_CONF={settings.configuration}\n")

    def _devices(self) -> str:
        """Devices that stand in for GPUs: copies of /dev/null, or terminals where none can be made."""
        last = self.settings.gpus - 1
        if os.geteuid() != 0:
            return f"/dev/tty[1-{last + 1}]"
        folder = self.settings.root / "dev"
        for number in range(self.settings.gpus):
            path = folder / f"gpu{number}"
            if not path.exists():
                os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
        return f"{folder}/gpu[0-{last}]"

    def _start_munge(self) -> None:
        if self.alive("munged"):
            return
        folder = self.settings.root / "munge"
        key = folder / "munge.key"
        if not key.exists():
            key.write_bytes(secrets.token_bytes(1024))
            key.chmod(0o400)
        for stale in folder.glob("munge.socket*"):
            stale.unlink()
        folder.chmod(0o755)
        user = _own(folder, "munge")
        command = [_program("munged"), f"--key-file={key}", f"--socket={self.settings.munge_socket}"]
        command += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log"]
        command += [f"--seed-file={folder}/munged.seed"]
        self._daemon(command, "munged", user)
        test = ["munge", "-S", str(self.settings.munge_socket), "-n"]
        _wait(10, lambda: _succeeds(test), "munged", folder / "munged.log")

    def _start_database(self) -> None:
        if self.alive("mysqld"):
            return
        root = self.settings.root
        folder, socket = root / "mysql", root / "mysql" / "s.sock"
        user = _own(folder, "mysql")
        if not (folder / "data" / "mysql").is_dir():
            install = [_program("mariadb-install-db"), "--no-defaults", f"--user={user}", "--skip-test-db"]
            install += [f"--datadir={folder}/data", "--auth-root-authentication-method=normal"]
            subprocess.run(install, check=True, capture_output=True)
        command = [_program("mariadbd"), "--no-defaults", f"--user={user}", f"--datadir={folder}/data"]
        command += [f"--socket={socket}", f"--pid-file={folder}/mysqld.pid", "--bind-address=127.0.0.1"]
        command += [f"--port={self.settings.port + 3}", "--innodb-buffer-pool-size=64M", "--skip-log-bin"]
        command += [
            "--innodb-log-file-size=32M",
            "--innodb-lock-wait-timeout=900",
            "--performance-schema=off",
        ]
        command += ["--innodb-flush-log-at-trx-commit=0"]
        with open(root / "log" / "mysqld.log", "ab") as log:
            subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        client = ["mariadb", "--no-defaults", "-uroot", "-S", str(socket)]
        _wait(60, lambda: _succeeds([*client, "-e", "select 1"]), "MariaDB", root / "log" / "mysqld.log")
        grants = [
            f"create user if not exists slurm@'{host}' identified by 'slurm'; "
            f"grant all on slurm_acct_db.* to slurm@'{host}';"
            for host in ("127.0.0.1", "localhost")
        ]
        script = "create database if not exists slurm_acct_db; " + " ".join(grants)
        subprocess.run([*client, "-e", script], check=True, capture_output=True)

    def _start_accounting(self) -> None:
        path = self.settings.root / "etc" / "slurmdbd.conf"
        if self.alive("slurmdbd"):
            return
        path.write_text(slurmdbd_conf(self.settings))
        path.chmod(0o600)
        self._daemon(["slurmdbd"], "slurmdbd")
        log = self.settings.root / "log" / "slurmdbd.log"
        _wait(
            30,
            lambda: _succeeds(["sacctmgr", "-n", "list", "cluster"], self.settings.environment),
            "slurmdbd",
            log,
        )
        for words in (
            ["cluster", "lab"],
            ["account", "lab", "Cluster=lab"],
            ["user", getpass.getuser(), "Account=lab"],
        ):
            _succeeds(["sacctmgr", "-i", "-n", "add", *words], self.settings.environment)

    def _daemon(self, command: list[str], name: str, user: str | None = None) -> None:
        """Start a program that puts itself into the background."""
        log = self.settings.root / "log" / f"{name}.out"
        if user not in (None, getpass.getuser()):
            command = ["runuser", "-u", str(user), "--", *command]
        with open(log, "ab") as stream:
            done = subprocess.run(
                [_program(command[0]), *command[1:]],
                env=self.settings.environment,
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                check=False,
            )
        if done.returncode:
            raise LabError(f"{name} did not start: {_tail(log)}")

    def _answers(self) -> bool:
        return _succeeds(["scontrol", "ping"], self.settings.environment)

    def heal(self) -> None:
        """Return the nodes that drained, as an administrator would.

        A controller that lost its state hands out job numbers again; nodes that still know them drain then.
        """
        listed = self.call("sinfo", "-h", "-N", "-o", "%N %t").splitlines()
        drained = sorted({line.split()[0] for line in listed if line.split()[1].startswith("dr")})
        if drained:
            self.call("scontrol", "update", f"NodeName={','.join(drained)}", "State=RESUME")

    def _ready(self) -> bool:
        self.heal()
        listed = self.call("sinfo", "-h", "-N", "-o", "%N %T").split("\n")
        usable = {
            line.split()[0]
            for line in listed
            if line.endswith((" idle", " mixed", " allocated", " completing"))
        }
        return usable >= set(self.settings.node_names)

    def _process(self, name: str) -> psutil.Process | None:
        """The daemon, or None; a number that another program has by now is none."""
        program = {"mysqld": "mariadbd"}.get(name, name.partition("-")[0])
        try:
            process = psutil.Process(int(self._pid_file(name).read_text()))
            return process if program in process.name() else None
        except (OSError, ValueError, psutil.Error):
            return None

    def _pid_file(self, name: str) -> Path:
        folder = {"munged": "munge", "mysqld": "mysql"}.get(name, "run")
        return self.settings.root / folder / f"{name}.pid"

    def _kill(self, name: str) -> None:
        process = self._process(name)
        if process is not None:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
            _wait_quietly(5, lambda: not self.alive(name))
        self._pid_file(name).unlink(missing_ok=True)

    def _stop(self, name: str) -> None:
        process = self._process(name)
        if process is not None:
            with suppress(psutil.Error):
                process.terminate()
                _wait_quietly(10, lambda: not self.alive(name))
        self._kill(name)

    def _processes_of(self, node: str) -> Iterator[psutil.Process]:
        """Steps of the node and what they started: known by Slurm's variables in their environment."""
        configuration = str(self.settings.configuration)
        for process in psutil.process_iter():
            try:
                variables = process.environ()
            except psutil.Error:
                continue
            if variables.get("SLURM_CONF") == configuration and variables.get("SLURMD_NODENAME") == node:
                parent = process.parent()
                if parent is not None and parent.name().startswith("slurmstepd"):
                    yield parent
                yield process


def separable() -> bool:
    """Whether this process may give nodes a host name and mounts of their own."""
    return os.geteuid() == 0 and _succeeds(["unshare", "--uts", "--mount", "true"])


def install_packages(settings: LabSettings) -> None:
    """Install what is missing, which root may on Debian.

    Raises:
        LabError: packages are missing and cannot be installed.
    """
    wanted = PACKAGES + (ACCOUNTING_PACKAGES if settings.accounting else ())
    missing = [name for one in wanted if not _installed(one.program) for name in one.packages]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(f"Slurm is not installed; these Debian packages are missing: {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
        done = subprocess.run(
            ["apt-get", *command], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LabError(f"apt-get {command[0]} failed: {done.stderr.strip()[-400:]}")


def _installed(program: str) -> bool:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}") is not None


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")
    return found or name


def _own(folder: Path, user: str) -> str:
    """Give `folder` to the user of a daemon; as a plain user the daemon runs as oneself."""
    if os.geteuid() != 0:
        return getpass.getuser()
    known = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, known.pw_uid, known.pw_gid)
    return user


def _succeeds(command: list[str], environment: dict[str, str] | None = None) -> bool:
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _wait(seconds: float, condition: Callable[[], bool], what: str, log: Path) -> None:
    if not _wait_quietly(seconds, condition):
        raise LabError(f"waited {seconds:g} s for {what}: {_tail(log)}")


def _wait_quietly(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def _tail(log: Path) -> str:
    try:
        return " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
    except OSError:
        return "it left no log"
