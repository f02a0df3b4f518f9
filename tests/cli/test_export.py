"""``spikecore export``: from a run directory or a checkpoint to files, and what it says where it cannot."""

import json
import shutil
from pathlib import Path

import pytest

for package in ("typer", "pydantic", "tomli_w"):
    pytest.importorskip(package)

import spikecore as sc  # noqa: E402
from spikecore.cli.run_directory import MODEL, RUN  # noqa: E402

DEMO = Path(sc.__file__).parent / "cli" / "demo.toml"
C_FILES = ["CMakeLists.txt", "Makefile", "main.c", "net.c", "net.h", "net.md"]


@pytest.fixture
def run():
    """A run directory with a network that is trained."""
    folder = Path("runs/digits-001")
    folder.mkdir(parents=True)
    shutil.copy(DEMO, folder / RUN)
    sc.zoo.pretrained("digits", "numpy").save(folder / MODEL)
    return folder


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_a_run_directory(spikecore, run):
    code, said, error = spikecore("export", run)
    assert (code, error) == (0, "")
    assert names(run / "c") == C_FILES
    assert "net.c" in said
    assert "RAM 880 bytes" in said


def test_a_checkpoint_and_options(spikecore, run):
    code, said, _ = spikecore("export", run / MODEL, "--out", "firmware/digits", "-o", "example=false", "--json")
    assert code == 0
    assert names(Path("firmware")) == ["digits.c", "digits.h"]
    assert json.loads(said)["files"] == [str(Path("firmware/digits.c")), str(Path("firmware/digits.h"))]


def test_the_ending_says_the_target(spikecore, run):
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
    code, said, _ = spikecore("export", run, "--out", "firmware/digits.onnx", "-o", "batch_size=none")
    assert code == 0
    assert "input [batch, 64]" in said
    assert names(Path("firmware")) == ["digits.onnx"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--to", "cobol"], 2, "--to cobol: unknown target 'cobol'"),
        (["-o", "exmaple=false"], 2, "unknown option 'exmaple'; did you mean 'example'?"),
        (["-o", "example"], 2, "--option example: must be key=value"),
        (["--out", "build/2net"], 1, "prefix of names in C"),
        (["--out", ""], 2, "path='' is a folder"),
        (["--out", "build/"], 2, "path='build/' is a folder"),
        (["--out", "build/net.onnx", "--to", "nir"], 2, "pass to='onnx' or path='build/net.nir'"),
    ],
)
def test_what_is_wrong_is_said(spikecore, run, arguments, code, said):
    found, _, error = spikecore("export", run, *arguments)
    assert found == code
    assert said in error
    assert not Path("build").exists()


@pytest.mark.filterwarnings("default:layer .* NIR only knows")
def test_what_nir_lacks_is_said_once(spikecore, run):
    """It was a note of the result, and a warning as well."""
    pytest.importorskip("nir", reason="nir is not installed (extra 'nir', Python >= 3.9)")
    code, said, error = spikecore("export", run, "--to", "nir")
    assert (code, error) == (0, "")
    lost = [line for line in said.splitlines() if line.startswith("not in the file: layer ")]
    assert len(set(lost)) == len(lost) > 0


def test_what_is_not_trained(spikecore, run):
    (run / MODEL).unlink()
    code, _, error = spikecore("export", run)
    assert code == 3
    assert f"spikecore train {run} --resume" in error
    code, _, error = spikecore("export", run / RUN)
    assert code == 2
    assert "a run file has no weights yet" in error
    code, _, error = spikecore("export", "nothing.safetensors")
    assert code == 3
    assert "nothing.safetensors: no such run directory or checkpoint" in error
