"""The files around a network in C: what they say is right, the example runs, what cannot be is refused."""

import re
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore.export.c.files import table
from tests.export.c_rig import COMPILERS, STRICT, called, in_c, needs_compiler, numbers


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    model = sc.zoo.pretrained("digits", "numpy", fused=False)
    return model, folder, sc.export(model, folder / "net")


def test_what_is_written(digits):
    _, folder, done = digits
    names = ["net.c", "net.h", "net.md", "main.c", "Makefile", "CMakeLists.txt"]
    assert [file.name for file in done.files] == names
    assert sorted(file.name for file in folder.iterdir()) == sorted(names)
    assert "RAM 880 bytes: 440 of states, 440 of scratch" in str(done)


@needs_compiler
@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_example_reads_samples_and_counts_spikes(digits):
    model, folder, _ = digits
    called("make", "-C", folder, f"CC={COMPILERS[0]}", "CFLAGS=-O1 -Werror")
    x = sc.datasets.digits()[1].inputs[:7]
    text = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in x)
    printed = called(folder / "net", "25", input=text)
    expected = model(x, num_steps=25).spikes.sum(axis=0)
    np.testing.assert_array_equal(np.loadtxt(printed.splitlines()), expected)


@needs_compiler
@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_example_goes_on_from_step_to_step_and_says_what_is_missing(digits):
    model, folder, _ = digits
    strict = "CFLAGS=-O1 -Werror -Wconversion -Wshadow -Wwrite-strings -pedantic"
    called("make", "-B", "-C", folder, f"CC={COMPILERS[0]}", strict)
    x = np.round(np.random.default_rng(0).random((5, 1, 64)), 3).astype("float32")
    text = " ".join(f"{v:.9g}" for v in x.reshape(-1))
    np.testing.assert_array_equal(np.loadtxt(called(folder / "net", input=text).splitlines()), model(x).spikes[:, 0])
    wrong = [
        ((), text + " 0.5 0.25", 1, "a sample has 64 numbers, and the last one has 2"),
        ((), text + " 0.5,0.25", 1, "sample 6: number 2 is not a finite number"),
        (("25",), "0.5 nan", 1, "sample 1: number 2 is not a finite number"),
        *((arguments, text, 2, "usage: net [STEPS]") for arguments in (("abc",), ("25x",), ("0",), ("",), ("5", "5"))),
    ]
    for arguments, given, code, said in wrong:
        done = subprocess.run([folder / "net", *arguments], input=given, capture_output=True, text=True)
        assert done.returncode == code
        assert said in done.stderr


@needs_compiler
@pytest.mark.skipif(not shutil.which("size"), reason="size, of binutils, is not installed")
def test_sizes_are_those_of_the_compiled_network(digits):
    _, folder, _ = digits
    told = numbers((folder / "net.h").read_text())
    called(COMPILERS[0], *STRICT, "-O1", "-c", folder / "net.c", "-o", folder / "sizes.o")
    sections = dict(re.findall(r"^(\S+)\s+(\d+)", called("size", "-A", folder / "sizes.o"), flags=re.MULTILINE))
    assert told["CONSTANT_BYTES"] <= int(sections[".rodata"]) < told["CONSTANT_BYTES"] + 128
    assert int(sections.get(".data", 0)) == int(sections.get(".bss", 0)) == 0  # all memory is the caller's
    page = (folder / "net.md").read_text()
    assert all(f"{told[name]:,}" in page for name in ("STATE_BYTES", "SCRATCH_BYTES", "CONSTANT_BYTES"))
    assert "| layer 0 (Linear) | 6,400 | 100 |" in page


def test_large_networks_ask_for_an_int_of_32_bits(digits, tmp_path):
    """Loops count in int, which has 16 bits on some processors."""
    model = sc.Model(sc.Sequential(sc.Linear(330, 100), sc.Leaky()), "numpy", input_shape=(330,))
    sc.export(model, tmp_path / "large", example=False)
    assert "#if INT_MAX < 2147483647" in (tmp_path / "large.c").read_text()
    assert "INT_MAX" not in (digits[1] / "net.c").read_text()


def test_an_example_that_is_there_is_not_replaced(digits, tmp_path):
    model, _, _ = digits
    (tmp_path / "main.c").write_text("mine")
    done = sc.export(model, tmp_path / "net")
    assert (tmp_path / "main.c").read_text() == "mine"
    assert "main.c was there and stays as it is" in str(done)
    sc.export(model, tmp_path / "net")  # what depends on the network is written again
    assert (tmp_path / "net.c").exists()


def test_the_network_alone(digits, tmp_path):
    sc.export(digits[0], tmp_path / "net", example=False)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.c", "net.h"]


@needs_compiler
def test_networks_side_by_side_do_not_disturb_each_other(digits, tmp_path):
    model, _, _ = digits
    first, second = in_c({"a": model, "b": model}, tmp_path).values()
    x = np.random.default_rng(0).random((6, 64), dtype="float32")
    alone = first.run(x)[0]
    for row in x:
        second.run(row[None])
    np.testing.assert_array_equal(first.run(x)[0], alone)


@pytest.mark.parametrize("stem", ["math", "string", "size", "clean", "Makefile"])
def test_a_name_that_something_else_has(digits, tmp_path, stem):
    with pytest.raises(sc.errors.ExportError, match=f'"my_{stem}"'):
        sc.export(digits[0], tmp_path / stem)
    assert not list(tmp_path.iterdir())
    if stem in ("size", "clean", "Makefile"):  # a target of the Makefile
        sc.export(digits[0], tmp_path / stem, example=False)


def test_names_of_classes_do_not_end_a_comment(tmp_path):
    class Odd(sc.Leaky):
        pass

    Odd.__name__ = "*/ int x; /*"
    sc.export(sc.Model(sc.Sequential(sc.Linear(2, 2), Odd()), "numpy", input_shape=(2,)), tmp_path / "net")
    for name in ("net.c", "net.h"):
        text = (tmp_path / name).read_text()
        assert "int x" in text
        assert "int x" not in re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def test_headers_whose_names_differ_in_case_are_both_read(digits, tmp_path):
    for stem in ("net", "Net"):
        sc.export(digits[0], tmp_path / stem, example=False)
        assert f"#ifndef {stem}_H" in (tmp_path / f"{stem}.h").read_text()


@pytest.mark.parametrize("network", [sc.Sequential(), sc.Sequential(sc.Sequential(), sc.Sequential())])
def test_a_network_without_layers_is_refused(network, tmp_path):
    with pytest.raises(sc.errors.ExportError, match="no layers"):
        sc.export(sc.Model(network, "numpy", input_shape=(2,)), tmp_path / "net")
    assert not list(tmp_path.iterdir())


# ---- refusals: nothing is written ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", ["2net", "my-net", "int", "naïve", "net v1"])
def test_a_name_that_is_none_in_c(digits, tmp_path, stem):
    with pytest.raises(sc.errors.ExportError, match="prefix of names in C"):
        sc.export(digits[0], tmp_path / "sub" / stem)
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Shuffled(sc.Identity):
    """A layer of a user with a word that has no form in C."""

    def apply(self, engine, params, buffers, x, *, train, key):
        maps = engine.xp.reshape(x, (-1, *x.shape[2:]))
        cut = engine.xp.patches(maps, (1, 1), (1, 1), (0, 0), (1, 1))
        return engine.xp.reshape(cut, x.shape), buffers


REFUSED = {
    "a whole sequence": (sc.Sequential(sc.Linear(3, 3), sc.PSN(num_steps=4)), (3,), "layer 1 .* cannot run one step"),
    "a word": (sc.Sequential(Shuffled(), sc.Leaky()), (1, 2, 2), r"layer 0 \(Shuffled\) uses 'patches'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_c_cannot_express(tmp_path, name):
    network, shape, said = REFUSED[name]
    model = sc.Model(network, "numpy", input_shape=shape)
    with pytest.raises(sc.errors.ExportError, match=said):
        sc.export(model, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite(digits, tmp_path):
    model = sc.Model(sc.Sequential(sc.Linear(3, 2), sc.Leaky()), "numpy", input_shape=(3,))
    state = model.state()
    state["params"]["0.weight"][0, 0] = np.nan
    model.load_state(state)
    with pytest.raises(sc.errors.ExportError, match=r"layer 0 \(Linear\): its weight is not finite"):
        sc.export(model, tmp_path / "net")


def test_numbers_are_read_back_to_the_bit():
    drawn = np.random.default_rng(0).integers(0, 2**32, 2000, dtype=np.uint64).astype("uint32").view("float32")
    known = np.array([0.1, -0.0, 0, 1, -3, 1e-45, 3.4e38, 16777216, 1 / 3], "float32")
    numbers_ = np.concatenate([drawn[np.isfinite(drawn)], known])
    texts = " ".join(table(numbers_)).replace("f", "").split(",")
    np.testing.assert_array_equal(np.array(texts, "float32").view("uint32"), numbers_.view("uint32"))
    assert table(np.array([np.nan, np.inf, -np.inf], "float32")) == ["    NAN, INFINITY, -INFINITY"]
