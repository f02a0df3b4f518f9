"""A SLURM cluster on hosts of ``network.py``: slurmctld on the first host, slurmd on each, and munge between them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.hosts.network import waited

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol", "squeue")
#: Jobs of "high" take nodes from those of "low", which hear of it, have GraceTime seconds, and wait in the queue again.
#: A job that waits again begins no earlier than credentials of its last start expire, which is 2 minutes by default.
CONFIGURATION = """
ClusterName=tried
SlurmctldHost={first}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
ReturnToService=2
{nodes}
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=40 State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP
"""


def absent_slurm():
    """Why there can be no cluster here; an empty text if there can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"no {', '.join(missing)}: install slurmctld, slurmd, slurm-client and munge" if missing else ""


class Cluster:
    """The cluster. Commands run on the first host."""

    def __init__(self, hosts, folder):
        self.hosts, self.folder = hosts, folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def start(self):
        """Start the daemons, and wait until all nodes can be used."""
        for host in self.hosts:
            host.start(["slurmd", "-D", "-N", host.name], self.folder / f"{host.name}.txt", **self.environment)
        self.hosts[0].start(["slurmctld", "-D", "-i"], self.folder / "slurmctld.txt", **self.environment)
        idle = ["idle"] * len(self.hosts)
        waited(lambda: self.tried("sinfo", "-hN", "-p", "low", "-o", "%t").stdout.split() == idle, 60, self.said)

    def tried(self, *words, cwd=None, **environment):
        """A command that has ended."""
        command = ["ip", "netns", "exec", self.hosts[0].space, *map(str, words)]
        own = {**os.environ, **self.environment, **environment}
        return subprocess.run(command, env=own, cwd=cwd, capture_output=True, text=True, timeout=400)

    def call(self, *words, **options):
        """What a command prints."""
        done = self.tried(*words, **options)
        assert done.returncode == 0, done.stdout + done.stderr + self.said()
        return done.stdout

    def state(self, job):
        """RUNNING, PENDING, COMPLETED, ... of a job, and how often it has begun again."""
        rows = dict(word.partition("=")[::2] for word in self.call("scontrol", "show", "job", job).split())
        return rows["JobState"], int(rows["Restarts"])

    def said(self):
        """What the daemons say."""
        logs = [*self.folder.glob("*.log"), *self.folder.glob("*.txt")]
        return "\n".join(f"{log.name}: {log.read_text()[-3000:]}" for log in logs)


@contextlib.contextmanager
def cluster(hosts):
    """A cluster without jobs."""
    with tempfile.TemporaryDirectory(prefix="spikecore-slurm-") as name:
        folder = Path(name)
        (folder / "state").mkdir()
        (folder / "key").write_bytes(os.urandom(128))
        (folder / "key").chmod(0o600)
        nodes = "\n".join(f"NodeName={host.name} CPUs=1 State=UNKNOWN" for host in hosts)
        text = CONFIGURATION.format(first=hosts[0].name, folder=folder, nodes=nodes)
        (folder / "slurm.conf").write_text(text)
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        files = {"socket": "munge.socket", "key-file": "key", "pid-file": "munge.pid", "seed-file": "seed"}
        options = [f"--{option}={folder / file}" for option, file in files.items()]
        with open(folder / "munge.txt", "w") as log:
            munge = subprocess.Popen(["munged", "--foreground", "--force", *options], stdout=log, stderr=log)
        try:
            waited((folder / "munge.socket").exists, 20, (folder / "munge.txt").read_text)
            one = Cluster(hosts, folder)
            one.start()
            yield one
        finally:
            munge.terminate()
            munge.wait(20)
            for host in hosts:
                host.kill()
