"""C9: NIR files that were made to do harm: read, or a NirError or ShapeError with file or node; never another error."""

from __future__ import annotations

import json
import random
import shutil
import tracemalloc
from collections import Counter

import numpy as np
import pytest

import spikecore as sc

nir = pytest.importorskip("nir", reason="nir is not installed (extra nir)")
h5py = pytest.importorskip("h5py")

from spikecore.nir import NirError, export_to_nir, model_from_nir  # noqa: E402
from spikecore.nir.notes import KEY  # noqa: E402

MOST, SLACK = 1_000_000, 4 << 20
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning"),  # NumPy's own word
    pytest.mark.filterwarnings("ignore::spikecore.nir.NirLoss"),
]
cases = pytest.mark.parametrize("count", [24, pytest.param(3000, marks=pytest.mark.slow)])


def networks():
    leaky = sc.Leaky(beta=sc.learn(0.9, per="neuron"), reset_mechanism="zero")
    yield sc.Sequential(sc.Linear(3, 4), leaky, sc.Linear(4, 2), sc.Synaptic(alpha=0.8, beta=0.7)), (3,)
    conv = sc.Conv2d(1, 2, 3, padding=1)
    yield sc.Sequential(conv, sc.IF(), sc.AvgPool2d(2), sc.Flatten(), sc.Linear(8, 2), sc.LI(beta=0.9)), (1, 4, 4)
    yield sc.Sequential(sc.RLeaky(beta=0.9, linear_features=3), sc.Lapicque(beta=0.9), sc.GradedSpikes(3)), (3,)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Files of several networks."""
    folder, paths = tmp_path_factory.mktemp("nir"), []
    for i, (network, shape) in enumerate(networks()):
        model = sc.Model(network, "numpy", i, input_shape=shape)
        paths.append(folder / f"{i}.nir")
        nir.write(paths[-1], export_to_nir(model))
    return paths


# ---- damage --------------------------------------------------------------------------------------------------------


def datasets_of(group, path=""):
    found = []
    for name, item in group.items():
        full = f"{path}/{name}"
        found += datasets_of(item, full) if isinstance(item, h5py.Group) else [full]
    return found


def values(rng, old):
    """Something in the place of an array."""
    yield from (
        0,
        -1,
        1.5,
        np.nan,
        np.inf,
        1e300,
        2**40,
        "text",
        "Leaky",
        b"\xff\xfe",
        True,
        [],
        [1, 2, 3],
        [[1.0], [2.0]],
    )
    yield from (np.zeros((2, 2, 2, 2, 2)), np.zeros((0, 3)), np.zeros(3, "complex64"), np.array(["a", "b"], "S1"))
    yield from ("Conv2d", "NIRGraph", "Input", "LIF", "CubaLIF", "Delay", "Threshold", "Scale", "Affine", "os.system")
    if isinstance(old, np.ndarray) and old.dtype.kind in "fiu":
        spoiled = old.astype("float64", copy=True)
        spoiled.reshape(-1)[: rng.randrange(1, 3)] = rng.choice(
            [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e30, 1e308, 2.0**62]
        )
        yield from (
            spoiled,
            old.T,
            old[None],
            old.reshape(-1)[:-1],
            -old,
            old * 1e9,
            old.astype("int8"),
            old.astype("S5"),
        )


def damaged_notes(rng, text):
    """Notes of ours that are not what we would write."""
    notes = json.loads(text)
    if not isinstance(notes, dict) or not notes:
        return "{}"
    key = rng.choice(sorted(notes))
    bad = [
        None,
        5,
        "x",
        [],
        {},
        -1,
        {"class": "Leaky"},
        {"class": "x"},
        {"learn": 1},
        [[1]],
        {"shape": [9, 9], "per": 5, "dt": "x"},
    ]
    kind = rng.randrange(4)
    if kind == 0:
        del notes[key]
    elif kind == 1 and isinstance(notes[key], dict) and notes[key]:
        inner = rng.choice(sorted(notes[key]))
        notes[key][inner] = rng.choice(bad)
    elif kind == 2:
        return rng.choice(["", "{", "[1]", "5", "null", "[" * 5000, '{"kind": ' * 500, "NaN"])
    else:
        notes[key] = rng.choice([*bad, "Leaky", "Synaptic", "OffsetLeaky", "Lapicque", "LI", "IF"])
    return json.dumps(notes)


def spoil(rng, path):
    with h5py.File(path, "r+") as file:
        names = datasets_of(file)
        notes = [name for name in names if name.endswith(f"/{KEY}") and isinstance(file[name][()], bytes)]
        kind, name = rng.randrange(10), rng.choice(names)
        if kind == 0:
            del file[name]
        elif kind == 1:
            del file[name.rpartition("/")[0]]
        elif kind == 2:
            file.move(
                name, name + rng.choice(["_", "x", "/y"]) if rng.random() < 0.5 else rng.choice(["/node/x", "/a"])
            )
        elif kind == 3:
            link = rng.choice(
                [h5py.SoftLink("/node"), h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink("/nowhere"), file["node"]]
            )
            file[name.rpartition("/")[0]][rng.choice(["zz", "type", "nodes"]) + str(rng.random())] = link
        elif kind == 4:
            other = rng.choice(names)
            kept = file[other][()]
            del file[name]
            file[name] = kept
        elif kind in (5, 6) and notes:
            name = rng.choice(notes)
            text = file[name][()].decode()
            del file[name]
            file[name] = damaged_notes(rng, text)
        else:
            old = file[name][()]
            new = rng.choice(list(values(rng, old)))
            del file[name]
            file[name] = new


# ---- what comes of it ----------------------------------------------------------------------------------------------


@cases
def test_mutated_graphs(good, tmp_path, count):
    """C9: what is read is finite and runs; what is not names file or node; memory is limited."""
    path, counts, largest = tmp_path / "some.nir", Counter(), 0
    tracemalloc.start()
    for case in range(count):
        rng = random.Random(case)
        shutil.copy(good[case % len(good)], path)
        for _ in range(rng.choice([1, 1, 2])):
            try:
                spoil(rng, path)
            except (KeyError, ValueError, OSError, TypeError, RuntimeError):  # nothing left to be spoilt in this way
                counts["spared"] += 1
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            model = model_from_nir(path, engine="numpy", max_bytes=MOST)
        except (NirError, sc.errors.ShapeError) as error:
            counts["refused"] += 1
            message, model = str(error), None
            assert len(message) > 20, case
        largest = max(largest, tracemalloc.get_traced_memory()[1] - before)
        if model is not None:
            counts["read"] += 1
            assert all(np.isfinite(x).all() for x in model.params().values()), case
            model(np.ones((2, *model.input_shape)), num_steps=2)
    tracemalloc.stop()
    print(dict(counts), f"peak {largest / 1e6:.1f} MB")
    assert counts["refused"] > count // 4
    assert counts["read"] > count // 20
    assert largest < 3 * MOST + SLACK


# ---- particular kinds ----------------------------------------------------------------------------------------------


def test_links_out_of_a_file_are_not_followed(good, tmp_path):
    """C9: another file's content is no business of this one's reader."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones((4, 3))
    for kind in ("link", "storage"):
        path = tmp_path / f"{kind}.nir"
        shutil.copy(good[0], path)
        with h5py.File(path, "r+") as file:
            name = next(name for name in datasets_of(file) if name.endswith("/weight"))
            del file[name]
            if kind == "link":
                file[name] = h5py.ExternalLink(str(secret), "x")
            else:
                file.create_dataset(name, (4, 3), "f8", external=[(str(secret), 0, 96)])
        with pytest.raises(NirError, match=rf"{kind}\.nir: .*weight is (a link to another place|not an array in)"):
            model_from_nir(path)


def test_groups_that_hold_each_other(good, tmp_path):
    """C9: hard links can make a circle, and in a row of groups that each stand in the last one twice a huge tree."""
    path = tmp_path / "circle.nir"
    shutil.copy(good[0], path)
    with h5py.File(path, "r+") as file:
        file["node/again"] = file["node"]
    with pytest.raises(NirError, match="/node.* is in two places"):
        model_from_nir(path)
    with h5py.File(path, "w") as file:
        group = file.create_group("node")
        for _ in range(40):
            below = group.create_group("a")
            group["b"] = below
            group = below
    with pytest.raises(NirError, match="is in two places"):
        model_from_nir(path)
    with h5py.File(path, "w") as file:
        file["/".join(["node"] * 60)] = 1
    with pytest.raises(NirError, match="more than 50 levels deep"):
        model_from_nir(path)


@pytest.mark.parametrize("shape", [(10**9,), (2**40,), (3, 10**5, 10**5)])
def test_a_small_file_cannot_ask_for_much_memory(tmp_path, shape):
    """C9: neither for an array that is not written at all, nor for a sample whose neurons share one number."""
    path = tmp_path / "sparse.nir"
    nir.write(path, nir.NIRGraph.from_list(nir.Linear(np.ones((2, 3)))))
    with h5py.File(path, "r+") as file:
        name = next(name for name in datasets_of(file) if name.endswith("/weight"))
        del file[name]
        file.create_dataset(name, shape, "f8", chunks=(1,) * len(shape))
    assert path.stat().st_size < 100_000
    with pytest.raises(NirError, match=r"sparse\.nir: .*weight of shape .* takes more memory than allowed"):
        model_from_nir(path)
    one = np.ones(1)
    graph = {
        "input": nir.Input(np.array(shape)),
        "lif": nir.LIF(one, one, 0 * one, one),
        "output": nir.Output(np.array(shape)),
    }
    nir.write(path, nir.NIRGraph(graph, [("input", "lif"), ("lif", "output")], type_check=False))
    with pytest.raises(NirError, match=r"node lif \(LIF\): samples of shape .* take more memory than max_bytes"):
        model_from_nir(path, dt=0.1)


def test_files_that_are_none(tmp_path):
    """C9: absent, empty, of another format: the file's name and what is wrong."""
    (tmp_path / "empty.nir").write_bytes(b"")
    (tmp_path / "text.nir").write_text("hello")
    with h5py.File(tmp_path / "other.nir", "w") as file:
        file["x"] = 1
    for name, what in (
        ("none", "no such file"),
        ("empty", "not an HDF5"),
        ("text", "not an HDF5"),
        ("other", "not a NIR graph"),
    ):
        with pytest.raises(NirError, match=rf"{name}\.nir: .*{what}"):
            model_from_nir(tmp_path / f"{name}.nir")
