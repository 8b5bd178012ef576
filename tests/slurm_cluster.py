"""A real SLURM cluster on this machine's loopback: a controller and two nodes, for tests and tries.

    python tests/slurm_cluster.py start DIR [--accounting]
    python tests/slurm_cluster.py stop DIR
    apt-get install $(python tests/slurm_cluster.py packages)

Both nodes are daemons on this machine that pose as larger than they are. Everything lies in DIR but
links to its configuration in /etc/slurm, where commands inside of a job look for it. A SLURM that
was set up there by somebody else is left alone. Needs root, and Debian's packages.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = "munge slurmctld slurmd slurm-client slurm-wlm-basic-plugins"
ACCOUNTING = "slurmdbd slurm-wlm-mysql-plugin mariadb-server"  # beyond these, for sacct
ETC = Path("/etc/slurm")
TEMPLATES = Path(__file__).parent / "data"
FILES = ("slurm.conf", "gres.conf", "slurmdbd.conf")
NODES = ("hermes1", "hermes2")
NODE = "CPUs=8 RealMemory=16000 Gres=gpu:4"  # ASSUME: jobs of a tiny study need far less together
# what stands for a GPU must be a device; these are on every machine, and nobody touches them
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom")
DAEMONS = (
    *(f"slurmd-{node}" for node in NODES),
    "slurmctld",
    "slurmdbd",
    "mariadb/mariadbd",
    "munged",
)


class Unavailable(Exception):
    """No cluster can be started here; the message says why."""


def check(accounting: bool) -> None:
    """Raises Unavailable where packages or rights are missing or another SLURM is set up."""
    if os.geteuid():
        raise Unavailable("a cluster of one's own is started by root only")
    commands = ["munged", "slurmctld", "slurmd", "sbatch"]
    commands += ["slurmdbd", "mariadbd"] if accounting else []
    missing = [name for name in commands if not shutil.which(name)]
    if missing:
        wanted = f"{PACKAGES} {ACCOUNTING}" if accounting else PACKAGES
        raise Unavailable(f"{', '.join(missing)} missing: apt-get install {wanted}")
    for link in (ETC / name for name in FILES):
        folder = link.resolve().parent
        if not link.is_symlink() and not link.exists():
            continue
        if not (link.is_symlink() and (folder / f"spool-{NODES[0]}").is_dir()):
            raise Unavailable(f"{link} belongs to another SLURM, which is left alone")
        if any(alive(folder / f"{name}.pid") for name in DAEMONS):
            raise Unavailable(f"one runs already: python tests/slurm_cluster.py stop {folder}")


def start(folder: Path, accounting: bool = False) -> None:
    """Start a cluster and wait until its nodes are idle.

    Args:
        folder: of its state; made where it is missing. Every folder above it must be open to all.
        accounting: with slurmdbd on a MariaDB of its own, so that `sacct` answers.

    Raises Unavailable: it cannot be started here, or does not come up.
    """
    check(accounting)
    for name in ("", "state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    password = secrets.token_hex(16)
    ports = dict(zip(("ctld", "dbd", "sql", *NODES), free_ports(3 + len(NODES)), strict=True))
    configure(folder, ports, password, accounting)
    munged(folder)
    if accounting:
        mariadbd(folder, ports["sql"], password)
        run("slurmdbd")
        until(lambda: answers("sacctmgr", "-n", "list", "user"), folder)
    run("slurmctld", "-i")
    for node in NODES:
        run("slurmd", "-N", node)
    until(lambda: set(answers("sinfo", "-h", "-o", "%T").split()) == {"idle"}, folder)


def stop(folder: Path) -> None:
    """End what was started in this folder, jobs first, and take back the links to it."""
    if alive(folder / "slurmctld.pid"):
        answers("scancel", "--user", "root")
        wait(lambda: not answers("squeue", "-h"), 20)
    for name in DAEMONS:
        file = folder / f"{name}.pid"
        if alive(file):
            os.kill(int(file.read_text()), signal.SIGTERM)
            wait(lambda file=file: not alive(file), 20)
    for name in FILES:
        if (ETC / name).is_symlink() and (ETC / name).readlink() == folder / name:
            (ETC / name).unlink()


def configure(folder: Path, ports: dict[str, int], password: str, accounting: bool) -> None:
    """Write the configuration and link it to where SLURM's commands look for it."""
    lines = [f"NodeName={n} NodeAddr=127.0.0.1 Port={ports[n]} {NODE} State=UNKNOWN" for n in NODES]
    host = socket.gethostname().split(".")[0]
    values = ports | {"dir": folder, "host": host, "password": password}
    accounts = (
        (TEMPLATES / "slurm_accounts.conf").read_text().format(**values)
        if accounting
        else "JobCompType=jobcomp/none"
    )
    text = (
        (TEMPLATES / "slurm.conf")
        .read_text()
        .format(**values, nodes="\n".join(lines), accounting=accounts)
    )
    (folder / "slurm.conf").write_text(text)
    gpus = [f"NodeName={','.join(NODES)} Name=gpu File={device}\n" for device in DEVICES]
    (folder / "gres.conf").write_text("".join(gpus))
    (folder / "slurmdbd.conf").touch(0o600)
    text = (TEMPLATES / "slurmdbd.conf").read_text().format(**values)
    (folder / "slurmdbd.conf").write_text(text)
    ETC.mkdir(exist_ok=True)
    for name in FILES:
        (ETC / name).unlink(missing_ok=True)
        (ETC / name).symlink_to(folder / name)


def munged(folder: Path) -> None:
    """Start the daemon by which the others know each other, with a key of its own."""
    (folder / "munge.key").touch(0o600)
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    files = ("key-file=munge.key", "socket=munge.socket", "pid-file=munged.pid")
    files += ("log-file=munged.log", "seed-file=munge.seed")
    run("munged", *(f"--{name.replace('=', f'={folder}/')}" for name in files))


def mariadbd(folder: Path, port: int, password: str) -> None:
    """Start a database that only this machine reaches, with a place for accounts."""
    data, sock = folder / "mariadb", f"--socket={folder}/mariadb/socket"
    if not data.exists():
        data.mkdir()
        shutil.chown(data, "mysql")
        options = ["--user=mysql", f"--datadir={data}", "--skip-test-db"]
        options += ["--auth-root-authentication-method=normal"]
        run("mariadb-install-db", "--no-defaults", *options)
    command = ["mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}", sock]
    command += [
        f"--pid-file={data}/mariadbd.pid",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        "--skip-name-resolve",
    ]
    command += ["--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"]
    with (folder / "mariadbd.log").open("w") as log:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    client = ["mariadb", "--no-defaults", sock, "--user=root", "--execute"]
    user = "slurm@127.0.0.1"
    until(lambda: answers(*client, "select 1"), folder)
    run(
        *client,
        "create database if not exists slurm_acct_db; "
        f"create or replace user {user} identified by '{password}'; "
        f"grant all on slurm_acct_db.* to {user};",
    )


def run(*command: str) -> None:
    """Run a command that must succeed; raises Unavailable with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    if done.returncode:
        raise Unavailable(f"{command[0]} failed: {(done.stdout + done.stderr).strip()}")


def answers(*command: str) -> str:
    """What a command prints; nothing where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    return "" if done.returncode else done.stdout


def environment() -> dict[str, str]:
    """This process's environment without what would point SLURM to another cluster or job."""
    return {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}


def alive(pid_file: Path) -> bool:
    """Whether the process runs whose number this file holds."""
    try:
        os.kill(int(pid_file.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


def wait(happened: Callable[[], object], seconds: float) -> bool:
    """Wait until it happened; returns False where it took too long."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def until(happened: Callable[[], object], folder: Path) -> None:
    """Wait for a part of the cluster to come up; raises Unavailable where it does not."""
    if not wait(happened, 30):
        raise Unavailable(f"the cluster does not come up, see {folder}/*.log")


def main(command: str = "", folder: str = "", *options: str) -> str | None:
    """Do what the command line asks for; returns what is wrong, if anything."""
    if command == "packages":
        print(PACKAGES, ACCOUNTING)
        return None
    if command not in ("start", "stop") or not folder or set(options) - {"--accounting"}:
        return __doc__
    try:
        if command == "stop":
            stop(Path(folder).resolve())
        else:
            start(Path(folder).resolve(), accounting=bool(options))
            print(answers("sinfo", "--Node", "--format=%N %P %T, %c CPUs, %m MB, %G"))
    except Unavailable as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
