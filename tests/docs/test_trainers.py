"""PyTorch Lightning and Hugging Face Accelerate train networks of ``spikecore.nn`` as any other: the examples run."""

from __future__ import annotations

import importlib.util

import pytest

from tests import ROOT

pytest.importorskip("torch", reason="the torch face needs torch")
pytest.importorskip("sklearn", reason="the examples learn scikit-learn's digits")
EXAMPLES = ROOT / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")  # Lightning warns of its own affairs: loggers, workers
def test_lightning(tmp_path):
    pytest.importorskip("lightning", reason="PyTorch Lightning is not installed (extra 'peers')")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    accuracy = example("lightning_fit").main(
        2, accelerator="cpu", devices=1, default_root_dir=tmp_path, enable_checkpointing=False, **quiet
    )
    assert accuracy > 0.8


@pytest.mark.filterwarnings("ignore")  # Lightning warns of its own affairs
def test_lightning_restores_a_checkpoint(tmp_path):
    lightning = pytest.importorskip("lightning", reason="PyTorch Lightning is not installed (extra 'peers')")
    torch = pytest.importorskip("torch")
    script = example("lightning_fit")
    train, test = script.loaders()
    trainer = lightning.Trainer(
        max_epochs=1, limit_train_batches=2, limit_val_batches=1, accelerator="cpu", devices=1, logger=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    model = script.Classifier(hidden=20)
    trainer.fit(model, train, test)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = script.Classifier.load_from_checkpoint(tmp_path / "last.ckpt")
    images = next(iter(test))[0]
    assert torch.equal(again(images), model(images))


@pytest.mark.filterwarnings("ignore")  # Accelerate warns of its own affairs
def test_accelerate():
    pytest.importorskip("accelerate", reason="Accelerate is not installed (extra 'peers')")
    assert example("accelerate_fit").main(2, cpu=True) > 0.8
