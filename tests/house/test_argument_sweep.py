"""Every public callable, every parameter, nonsense of every kind: refused, by a message that names the argument."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Callable, List, Tuple, Union

import numpy as np
import pytest

import spikecore as sc
from spikecore import arguments, functional, spikegen
from tests.house.sweep_nonsense import NAN, NOTHING, Nothing
from tests.house.sweep_rig import outcome, parameters

for package in ("torch", "matplotlib", "nir", "h5py"):
    pytest.importorskip(package)

NAMED = 0.98


@pytest.fixture(scope="module")
def swept():
    return list(parameters())


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_nonsense_is_refused_by_name(swept):
    """C15: no nonsense accepted; of all refusals 98 % name the argument, and are a ValueError or a TypeError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, on the way to a refusal
        found = [outcome(p, value) for p in swept for value in p.nonsense]
    count = Counter(one.verdict for one in found)
    said = [f"{one.parameter.owner}({one.parameter.name}={one.value!r}): {one.message}" for one in found]
    by = {verdict: [line for line, one in zip(said, found) if one.verdict == verdict] for verdict in count}
    print(f"{dict(count)} of {len(swept)} parameters")
    assert not by.get("accepted"), by["accepted"]
    assert count["named"] >= NAMED * len(found), [*by.get("raw", ()), *by.get("unnamed", ())]
    assert len(found) > 16_000


@pytest.mark.filterwarnings("ignore:Animation was deleted")  # nobody looks at it here
def test_what_the_sweep_calls_is_right(swept):
    """C15: without nonsense every call goes through, or lacks a file and says which."""
    wrong, first = {}, {parameter.owner: parameter for parameter in reversed(swept)}
    for owner, parameter in first.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", sc.nir.NirLoss)
                parameter.call({})
        except Exception as error:
            wrong[owner] = str(error)
    assert len(first) > 200
    assert {owner: message for owner, message in wrong.items() if "absent" not in message} == {}


# ---- the mechanism -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Own(sc.Leaky):
    """A user's neuron, whose own annotations are his own business."""

    shape: int = 3


def test_classes_of_the_user_are_checked_by_what_they_inherit():
    assert Own(shape="round").shape == "round"
    with pytest.raises(TypeError, match=r"Own: reset_delay='False' must be True or False"):
        Own(reset_delay="False")


def test_a_class_is_told_from_another_of_the_same_name():
    bool_, model = (type(name, (), {})() for name in ("bool_", "Model"))
    with pytest.raises(TypeError, match=r"inhibition=.* must be True or False"):
        sc.Leaky(inhibition=bool_)
    with pytest.raises(TypeError, match=r"export: model=.* must be a Model"):
        sc.export(model, "net")
    assert sc.Leaky(inhibition=np.True_).inhibition


@arguments.checked
def example(
    size: arguments.Size,
    words: Tuple[str, ...] = (),
    pair: Tuple[float, float] = (0.0, 1.0),
    either: Union[None, str, int] = None,
    act: Callable[[int, List[int]], float] = abs,
    unknown: Nothing = 3,
):
    return size, words, pair, either, act, unknown


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": 0}, "size=0 must be an int >= 1"),
        ({"size": True}, "size=True must be an int >= 1"),
        ({"size": 2, "words": "ab"}, "words='ab' must be several values, each a str"),
        ({"size": 2, "words": [1]}, r"words=\[1\] must be several values, each a str"),
        ({"size": 2, "pair": (1.0,)}, r"pair=\(1\.0,\) must be 2 values, each a finite number"),
        ({"size": 2, "pair": (1.0, NAN)}, "must be 2 values, each a finite number"),
        ({"size": 2, "either": 1.5}, "either=1.5 must be None, or a str, or an int"),
        ({"size": 2, "act": int}, "act=<class 'int'> must be a callable"),
    ],
)
def test_annotations_are_read(given, words):
    with pytest.raises((TypeError, ValueError), match=f"example: .*{words}"):
        example(**given)


def test_an_annotation_that_names_nothing_is_an_error():
    @arguments.checked
    def lost(size: Sise):  # noqa: F821
        return size

    with pytest.raises(TypeError, match=r"an annotation of .*lost has no value: name 'Sise' is not defined"):
        lost(3)

    @dataclass(frozen=True)
    class Mine(sc.Leaky):
        gain: Parm = 1.0  # noqa: F821

    with pytest.raises(TypeError, match=r"an annotation of .*Mine has no value: name 'Parm' is not defined"):
        Mine()


def test_what_annotations_allow_goes_through():
    assert example(np.int64(2), ["a"], [1, np.float32(2.0)], "x", len, NOTHING)[0] == 2
    assert example(2, either=None, pair=(0.0, 1.0), words=())[3] is None
    assert spikegen.delta(np.ones((3, 2)), threshold=np.array(0.1), padding=0).shape == (3, 2)
    assert sc.Leaky(reset_delay=np.bool_(False)).reset_delay == np.bool_(False)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize(
    "bad", [np.array([[1j]]), np.array([["2020-01-01"]], "M8[D]"), np.array([["0.5"]]), np.array([[None]])]
)
def test_engines_cast_real_numbers_only(engine, bad):
    """C15: complex numbers, dates and text do not become numbers silently."""
    pytest.importorskip(engine)
    with pytest.raises(TypeError, match="expected real numbers"):
        sc.get_engine(engine).asarray(bad)
    with pytest.raises(TypeError, match="input=.* must be an array of numbers"):
        sc.Model(sc.Leaky(), engine)(bad, num_steps=2)


def test_complex_tensors_are_refused():
    """C15: torch's, too."""
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="expected real numbers"):
        sc.get_engine("torch").asarray(torch.ones(2, dtype=torch.complex64))


def test_the_examples():
    """C15: those that were found."""
    for act, words in (
        (lambda: sc.Leaky(reset_delay="False"), "Leaky: reset_delay='False'"),
        (lambda: sc.Leaky(beta=1j), "Leaky: beta=1j must be a number"),
        (lambda: spikegen.rate([[NAN]], 3), "rate: data holds NaN or infinity"),
        (lambda: spikegen.to_one_hot([99], 3), r"targets\[0\] = 99 is out of range"),
        (lambda: functional.quant.state_quant(lower_limit=NAN), "state_quant: lower_limit=nan must be a finite number"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            act()
