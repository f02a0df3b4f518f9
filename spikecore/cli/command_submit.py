"""The command ``submit``: it writes a batch script that trains on nodes of a SLURM cluster, and sends it."""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence

import typer

from spikecore.cli.messages import ConfigError
from spikecore.cli.options import ENGINE, JSON, SETS, examples, show_json
from spikecore.cli.run_directory import RUN, check_unused, new_directory
from spikecore.cli.run_file import read

FIRST_PORT, PORTS = 20_000, 10_000  # jobs that share a node meet at ports of their own

RUN_TO_SUBMIT = typer.Argument(..., metavar="RUN", help="A run file; or a run directory, whose run is continued.")
NODES = typer.Option(1, "--nodes", "-N", min=1, metavar="N", help="Machines that train together.")
TIME = typer.Option(
    ...,
    "--time",
    "-t",
    metavar="TIME",
    help="Longest time of a job, as SLURM writes it: MINUTES, H:MM:SS or DAYS-HOURS.",
)
CPUS = typer.Option(None, "--cpus", min=1, metavar="N", help="Cores of each node. Default: those that SLURM gives.")
GPUS = typer.Option(None, "--gpus", min=1, metavar="N", help="GPUs of each node; a process trains on each.")
OUT = typer.Option(None, metavar="DIR", help="Run directory. Default: the next free runs/NAME-001, runs/NAME-002, ...")
NOTICE = typer.Option(
    120, "--notice", min=1, metavar="SECONDS", help="How long before the end of TIME training saves and stops."
)
RESTARTS = typer.Option(10, "--restarts", min=0, metavar="N", help="How often a job begins again after its TIME.")
SBATCH = typer.Option(
    None, "--sbatch", metavar="OPTION", help="An option for sbatch, e.g. --sbatch --partition=long. May be repeated."
)
DRY_RUN = typer.Option(False, "--dry-run", help="Show the script; send nothing and write nothing.")

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes={nodes} --ntasks-per-node=1{resources}
#SBATCH --time={time} --signal=TERM@{notice} --requeue
#SBATCH --output={log} --open-mode=append
{options}
# Begins the run; a job that begins again continues it after the last saved step.
if [ -e {directory}/{run} ]
then set -- {again}
else set -- {begun}
fi
first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"

# SIGTERM comes {notice} s before the time is over, and before another job takes the nodes: training saves and stops.
# torchrun then returns 1, as after a failure, so that a shell around it passes the signal on and returns 143.
srun{cores} --wait=60 bash -c 'trap "told=143; kill \\$!" TERM; "$@" & wait $!; wait $!; exit ${{told:-$?}}' bash \\
  {python} {together}-m spikecore train "$@"
code=$?

# SLURM itself queues a job again whose nodes it has taken; one whose time is over does so here.
if [ $code -eq 143 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ] &&
  scontrol show job "$SLURM_JOB_ID" | grep -q PreemptTime=None
then scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
"""
TOGETHER = """\
-m torch.distributed.run --nnodes {nodes} --nproc-per-node {gpus} --max-restarts 3 \\
  --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$first:$(({port} + SLURM_JOB_ID % {ports}))" \\
  """


@dataclass(frozen=True)
class Job:
    """The resources that a job asks SLURM for; arguments as the options of ``submit`` have them."""

    nodes: int
    time: str
    notice: int
    restarts: int
    cpus: Optional[int] = None
    gpus: Optional[int] = None
    options: Sequence[str] = ()

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return self.nodes * (self.gpus or 1)

    def script(self, directory: Path, begun: Sequence[str], again: Sequence[str]) -> str:
        """The batch script.

        Args:
            directory: the run directory.
            begun: the words behind ``spikecore train`` that begin the run.
            again: those that continue it.
        """
        cores = f" --cpus-per-task={self.cpus}" if self.cpus else ""
        return SCRIPT.format(
            name=re.sub(r"[^\w.-]", "_", directory.name),
            nodes=self.nodes,
            resources=cores + (f" --gpus-per-node={self.gpus}" if self.gpus else ""),
            time=self.time,
            notice=self.notice,
            log=shlex.quote(str(beside(directory, "txt")).replace("%", "%%")),
            options="".join(f"#SBATCH {option}\n" for option in self.options),
            directory=shlex.quote(str(directory)),
            run=RUN,
            again=shlex.join(again),
            begun=shlex.join(begun),
            cores=cores,  # srun does not take it from sbatch
            python=shlex.quote(sys.executable),
            together=TOGETHER.format(nodes=self.nodes, gpus=self.gpus or 1, port=FIRST_PORT, ports=PORTS)
            if self.processes > 1
            else "",
            restarts=self.restarts,
        )


def beside(directory: Path, ending: str) -> Path:
    """A file beside a run directory: in it are the files of the run alone."""
    return directory.with_name(f"{directory.name}.{ending}")


@examples(
    "spikecore submit digits.toml --nodes 2 --time 4:00:00 --dry-run",
    "spikecore submit digits.toml --nodes 2 --time 4:00:00 --cpus 32 --out runs/two",
    "spikecore submit digits.toml --nodes 2 --time 1-0 --gpus 4 --sbatch --partition=gpu --sbatch --account=me",
    "spikecore submit runs/two --nodes 2 --time 60 --set train.epochs=50",
    pages="“Many machines” (docs/many_machines.md)",
)
def submit(
    run: Path = RUN_TO_SUBMIT,
    nodes: int = NODES,
    time: str = TIME,
    cpus: Optional[int] = CPUS,
    gpus: Optional[int] = GPUS,
    engine: Optional[str] = ENGINE,
    sets: Optional[List[str]] = SETS,
    out: Optional[Path] = OUT,
    notice: int = NOTICE,
    restarts: int = RESTARTS,
    sbatch: Optional[List[str]] = SBATCH,
    dry: bool = DRY_RUN,
    as_json: bool = JSON,
) -> None:
    """Train on nodes of a SLURM cluster: write a batch script, show it, and send it.

    The nodes train one model together, with torchrun. They must see this folder and the Python that runs this command.
    The run file is checked now, and read when the job begins.

    When TIME is almost over, or when a more urgent job takes the nodes, training saves its last step. The job then
    waits in the queue again and continues. In the end, the weights are the same, bit for bit, as without a stop.

    Writes the script to DIR.sh. What the job prints is in DIR.txt. The job has the environment variables of your shell.
    """
    sets = [*(sets or ()), *(["device=cuda"] if gpus else [])]
    wrong = [option for option in sbatch or () if not option.startswith("-")]
    if wrong:
        raise ConfigError([f"--sbatch {wrong[0]}: must begin with -, e.g. --sbatch --partition=long"])
    job = Job(nodes, time, notice, restarts, cpus, gpus, sbatch or ())
    _check_times(job)
    _check(run, job.processes, engine, sets)
    changes = [*(["--engine", engine] if engine else []), *(word for change in sets for word in ("--set", change))]
    if out is not None:
        if run.is_dir():
            raise ConfigError([f"--out {out}: {run} is a run directory, and its run is continued in it"])
        check_unused(out)
    if not dry and shutil.which("sbatch") is None:
        raise ConfigError(["sbatch is not here: run this on a machine of a SLURM cluster; --dry-run shows the script"])
    directory = run if run.is_dir() else out or _next(run.stem, dry)
    again = [str(directory), "--resume", *(changes if run.is_dir() else [])]
    begun = again if run.is_dir() else [str(run), *changes, "--out", str(directory)]
    script, path = job.script(directory, begun, again), beside(directory, "sh")
    number = None if dry else _sent(script, path, directory)
    if as_json:
        files = {"directory": str(directory), "log": str(beside(directory, "txt")), "script": str(path)}
        show_json({"job": number, **files, "text": script})
        return
    print(script)
    if number is None:
        print("Nothing was sent and nothing was written. Without --dry-run, sbatch gets this script.")
        return
    print(f"job {number} -> {directory}; what it prints is in {beside(directory, 'txt')}, this script in {path}")
    print(f"squeue -j {number} shows whether it runs; scancel {number} ends it")


def _check(run: Path, processes: int, engine: Optional[str], sets: Sequence[str]) -> None:
    """Refuse before a job waits in a queue what would fail when it begins.

    Raises:
        ConfigError: the run file is wrong, or does not train in so many processes.
    """
    if run.is_dir() and not (run / RUN).exists():
        raise ConfigError([f"{run}: no such run directory: it has no {RUN}"])
    config = read(run / RUN if run.is_dir() else run, engine, sets)
    if processes > 1 and config.engine != "torch":
        raise ConfigError([f"{run}: engine = {config.engine!r} trains in one process: add --engine torch"])
    if config.data.batch_size < processes:
        size = f"{run}: data.batch_size = {config.data.batch_size}"
        raise ConfigError([f"{size}: {processes} processes divide each batch, so it must have as many samples"])


def _check_times(job: Job) -> None:
    """Raise ConfigError if the time does not leave a minute for training."""
    if seconds_of(job.time) < job.notice + 60:
        longer = f"must be at least a minute longer than --notice, which is {job.notice} s"
        raise ConfigError([f"--time {job.time}: {longer}"])


def seconds_of(time: str) -> int:
    """Seconds of a time in one of SLURM's forms.

    Raises:
        ConfigError: it has none of them.
    """
    found = re.fullmatch(r"(?:(\d+)-(?=\d))?(\d+)(?::([0-5]?\d))?(?::([0-5]?\d))?", time)
    if found is None:
        raise ConfigError([f"--time {time}: must be MINUTES, H:MM:SS or DAYS-HOURS, e.g. 90, 4:00:00 or 1-12"])
    days, first, second, third = (int(part or 0) for part in found.groups())
    if found[1] or found[4]:
        return days * 86_400 + first * 3600 + second * 60 + third
    return first * 60 + second


def _next(name: str, dry: bool) -> Path:
    """The next free run directory in runs/. It is made now: a run that begins while the job waits has another one."""
    if not dry:
        return new_directory("runs", name)
    numbered = (Path("runs", f"{name}-{number:03d}") for number in itertools.count(1))
    return next(path for path in numbered if not path.exists())


def _sent(script: str, path: Path, directory: Path) -> str:
    """Write the script to a file, give it to sbatch, and return the job's number.

    Raises:
        ConfigError: sbatch refuses the script.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script, encoding="utf-8")
    done = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True)
    if done.returncode:
        path.unlink()
        with contextlib.suppress(OSError):  # there is none, or it has files
            directory.rmdir()
        raise ConfigError([f"sbatch refuses the script: {done.stderr.strip()}"])
    return done.stdout.strip().partition(";")[0]
