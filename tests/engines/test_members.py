"""What the author of an engine has to know: the members of ``Engine`` and ``Executor``, and the kinds of extras."""

from __future__ import annotations

import inspect

import pytest

import spikecore as sc
from spikecore.api.core import extras
from spikecore.api.core.engine import Engine
from spikecore.api.core.executor import Divided, Executor, GradientAccess, changes
from spikecore.api.core.extras import Extra, Processes, Stages, TrainingOptions, UserProgram, Variants, extra
from spikecore.api.core.variants import approximates, exact, remade, smooth, unfused, with_dtype
from spikecore.engines.numpy.engine import NumpyEngine
from tests import ROOT

ENGINE = (
    "name device dtype xp lacks extras asarray to_numpy uniform scan explain value_and_grad isolated compile".split()
)
WORDS = ["spike", "stop_gradient"]  # for short in neurons; the engine's words do them, and no engine writes them
EXECUTOR = "gradients divided step run stream run_events state weights load set_lr close steps_done lr resting".split()
GRADIENTS = "guarded squares assigned add add_gradient collect gradient discard apply update assign".split()
DIVIDED = "placed rank join_collectives own_weights".split()
PAGE = ROOT / "docs" / "write_an_engine.md"


def members(kind):
    """The public names that a class itself defines or annotates."""
    return {name for name in (*vars(kind), *vars(kind).get("__annotations__", ())) if not name.startswith("_")}


def every(kind):
    return [kind, *(below for one in kind.__subclasses__() for below in every(one))]


KINDS = [kind for _, kind in inspect.getmembers(extras, inspect.isclass) if Extra in kind.__bases__]


@pytest.mark.parametrize(
    ("kind", "names", "most"),
    [(Engine, ENGINE, 14), (Executor, EXECUTOR, 14), (GradientAccess, GRADIENTS, 11), (Divided, DIVIDED, 4)],
)
def test_the_members_are_these(kind, names, most):
    """A new member is something that every author has to know: what only some engines have is an extra."""
    assert members(kind) - set(WORDS) == set(names)
    assert len(names) <= most


def test_the_kinds_of_extras_are_these():
    found = {kind.__name__: len(members(kind)) for kind in KINDS}
    assert found == {
        "Stages": 1,
        "StepwiseLearning": 4,
        "Variants": 4,
        "UserProgram": 2,
        "ComparedDraws": 2,
        "Processes": 3,
        "TrainingOptions": 6,
    }


def test_no_engine_writes_the_words_as_members():
    pytest.importorskip("torch", reason="torch is not installed")
    for name in ("torch", "numpy", "ipu"):
        sc.get_engine(name, **({"simulate": True} if name == "ipu" else {}))
    import spikecore.engines.torch.nn.engine  # noqa: F401  (that of modules)

    ours = [kind for kind in every(Engine) if kind.__module__.startswith("spikecore.")]
    assert len(ours) > 8
    assert not [(kind, name) for kind in ours if kind is not Engine for name in WORDS if name in vars(kind)]


@pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not part of this tree")
def test_the_guide_names_them_all():
    text = PAGE.read_text("utf-8")
    for name in (*ENGINE, *EXECUTOR):
        assert f"`{name}`" in text or f"`{name}(" in text, name
    for kind in KINDS:
        assert f"| `{kind.__name__}` |" in text, kind
    assert text.count("These are all: 14.") == 2


# ---- extras --------------------------------------------------------------------------------------------------------


class Bare(NumpyEngine):
    """An engine that has nothing but its members."""

    extras = ()


def test_an_engine_without_extras_is_whole():
    """It trains, learns forward in time, streams and is verified: kinds do what all other engines do."""
    data = [([[0.1, 0.9, 0.4], [0.5, 0.2, 0.8]], [0, 1])]
    net = sc.Sequential(sc.Linear(3, 4), sc.Leaky(threshold=0.3), sc.BatchNorm1d(4), sc.Linear(4, 2), sc.Leaky())
    model = sc.Model(net, Bare(), seed=0)
    assert model.fit(data, num_steps=4, progress=False)
    plain = sc.Model(sc.Sequential(*net.layers[:2], *net.layers[3:]), Bare(), seed=0)
    for learning in ("eprop", "rtrl", sc.BPTT(update_every=2)):
        assert plain.fit(data, num_steps=4, progress=False, learning=learning)
    assert plain.stream().step([data[0][0][0]]).shape == (1, 2)
    assert sc.verify(plain, *data[0], num_steps=4).ok
    assert len(sc.spikegen.rate([0.5], 3)) == 3
    for options, message in (({"memory": "1GB"}, "does not plan its memory"), ({"compile": True}, "torch.compile")):
        with pytest.raises(NotImplementedError, match=message):
            plain.fit(data, num_steps=4, progress=False, compute=sc.Compute(**options))


def test_the_first_of_a_kind_is_taken():
    class Ours(Processes):
        pass

    ours = Ours()
    engine = type("Own", (NumpyEngine,), {"extras": (ours, Processes(), *NumpyEngine.extras)})()
    assert extra(engine, Processes) is ours
    assert type(extra(engine, TrainingOptions)) is TrainingOptions
    assert type(extra(engine, UserProgram)) is type(extra(NumpyEngine(), UserProgram))


def test_what_a_subclass_writes_anew_is_not_passed_by():
    class Loud(NumpyEngine):
        def scan(self, *arguments, **options):
            return super().scan(*arguments, **options)

    class Further(Loud):
        pass

    for engine in (Loud(), Further()):
        assert type(extra(engine, Stages)) is Stages
        assert type(extra(engine, Variants)) is type(extra(NumpyEngine(), Variants))


# ---- the same engine with other options ----------------------------------------------------------------------------


class Handed(NumpyEngine):
    """An engine whose constructor hands on what it is given."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)


@pytest.mark.parametrize("kind", [NumpyEngine, Handed])
def test_an_engine_is_made_again_with_other_options(kind):
    engine = kind("float64", checkpoint_every=3, sparse_backward=0.1)
    other = remade(engine, dtype="float32")
    assert (type(other), other.dtype, other.checkpoint_every, other.sparse_backward) == (kind, "float32", 3, 0.1)
    assert (unfused(engine).fused, exact(engine).sparse_backward, with_dtype(engine, "float32").dtype) == (
        False,
        0.0,
        "float32",
    )
    assert (approximates(engine), approximates(exact(engine))) == ("sparse_backward", "")
    assert exact(exact(engine)) is not engine
    assert smooth(engine).name == "numpy-smooth"
    with pytest.raises(NotImplementedError, match="has no smooth mode"):
        smooth(Bare())
    assert unfused(Bare()).fused == "auto", "it says of no option that it switches kernels off"


@pytest.mark.parametrize("name", ["numpy", "torch", "ipu"])
def test_changes_count_updates_and_assignments(name):
    pytest.importorskip("torch", reason="torch is not installed")
    model = sc.Model(
        sc.Sequential(sc.Linear(2, 2), sc.Leaky()), sc.get_engine(name, **({"simulate": True} if name == "ipu" else {}))
    )
    x, y = [[0.4, 0.9]], [1]
    model.train_step(x, y, num_steps=3)
    executor = model.trainer.executor
    assert changes(executor) == executor.steps_done == 1
    if executor.gradients is not None:
        executor.gradients.assign(executor.params)
        assert (changes(executor), executor.steps_done) == (2, 1)
