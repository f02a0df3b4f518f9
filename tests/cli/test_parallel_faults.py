"""What happens when one of several processes that train together is killed, at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

import pytest

from tests import ROOT

pytest.importorskip("torch")
for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)
if os.name == "nt":
    pytest.skip("processes as POSIX has them", allow_module_level=True)

import numpy as np  # noqa: E402

from tests.training.parallel_rig import finished, nursery, world  # noqa: E402

RUN_FILE = ROOT / "spikecore" / "cli" / "demo.toml"
SETS = (
    "train.epochs=3",
    "encoder.num_steps=3",
    "data.batch_size=64",
    "data.drop_last=true",
    "network.layers.0.out_features=12",
    "network.layers.2.in_features=12",
)
KILLS, WORLD, BOUND = 50, 4, 30.0
NOTICED = (
    10.0  # seconds after which the other ranks get SIGTERM: those that wait for one that never came to the meeting
)


def command(*words):
    """The command line in this process, which the caller has forked."""

    def run():
        from tests.cli.without_pictures import main

        main([*words])

    return run


def train(out, *more):
    return command("train", str(RUN_FILE), *[word for one in SETS for word in ("-s", one)], "--out", out, *more)


def weights(path):
    import spikecore as sc

    state = sc.load(path, engine="torch").state()
    return {f"{part}/{name}": x for part in ("params", "buffers", "optimizer") for name, x in state[part].items()}


def kill_at_random(folder, kills, seed):
    """Kill a random rank of each of several worlds, resume each, and print what came of it as JSON."""
    os.chdir(folder)
    with pytest.raises(SystemExit, match="0"):
        train("one")()  # in this process, so that the forks have all that it imports
    draw = random.Random(int(seed))
    whole = finished(WORLD, train("whole"), folder, "whole")
    assert set(whole.codes.values()) == {0}, whole.said
    wanted, duration = weights("whole/model.safetensors"), max(whole.ends.values())
    rows, hits, longest = [], 0, duration
    while hits < int(kills):
        out, rank, moment = f"run{len(rows)}", draw.randrange(WORLD), draw.uniform(0.0, longest)
        hit = world(WORLD, train(out), folder, out)
        hit.wait(moment)
        before = bool(hit.codes)
        when = hit.kill(rank)
        alone = hit.wait(NOTICED)
        for other in range(WORLD if not alone else 0):  # torchrun's agent does so at once, and kills after 30 s
            hit.kill(other, signal.SIGTERM)
        gone = hit.wait(BOUND + 10)
        row = {"rank": rank, "after": round(when, 3), "gone": gone, "codes": hit.by_rank()}
        row["alone"] = alone
        row["seconds"] = round(max(hit.ends.values()) - when, 3) if gone else None
        row["said"] = hit.said
        hit.stop()
        saved = Path(out, "model.safetensors")
        if saved.exists():
            weights(saved)  # raises if it is damaged
            row["saved"] = True
        again = train(out, "--resume") if Path(out, "run.toml").exists() else train(out)
        resumed = finished(WORLD, again, folder, f"{out}-again")
        row["resumed"] = resumed.by_rank()
        found = weights(saved) if saved.exists() else {}
        row["equal"] = found.keys() == wanted.keys() and all(np.array_equal(found[k], wanted[k]) for k in wanted)
        if not row["equal"]:
            row["again"] = resumed.said
        rows.append(row)
        hits += row["codes"][rank] == -signal.SIGKILL
        longest = min([longest, *hit.ends.values()]) if before else longest  # the next one is to be hit
    print(json.dumps({"duration": duration, "rows": rows}))


def check(report):
    for row in report["rows"]:
        assert row["gone"], row
        assert row["seconds"] <= BOUND, row
        assert row["resumed"] == [0] * WORLD, row
        assert row["equal"], row
        if row["codes"][row["rank"]] == -signal.SIGKILL:  # else it had just ended by itself
            trained = "test_loss" in row["said"][0]  # the others had nothing left that needs it
            assert all(row["codes"]) or trained, row


def reported(folder, kills, seed):
    said = nursery(__name__, "kill_at_random", folder, kills, seed, timeout=3000)
    return json.loads(said.splitlines()[-1])


@pytest.mark.slow
def test_fifty_kills(tmp_path):
    """``make faults`` prints the figures."""
    report = reported(tmp_path, KILLS, 7)
    check(report)
    rows = report["rows"]
    hit = [row for row in rows if row["codes"][row["rank"]] == -signal.SIGKILL]
    middle = [row for row in hit if any("next one" in said for said in row["said"])]
    noticed = [row["seconds"] for row in rows if row["alone"]]
    print(
        f"{len(rows)} kills within runs of {report['duration']:.1f} s, {len(hit)} while the rank was running, "
        f"{len(middle)} saved within an epoch; the others had ended after at most {max(noticed):.2f} s, in "
        f"{len(rows) - len(noticed)} of the worlds only after SIGTERM at {NOTICED:.0f} s; checkpoints whole, "
        f"{sum(row['equal'] for row in rows)} resumed to the same bits"
    )
