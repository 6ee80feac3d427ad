"""What losses hold, taken along from another run."""

import pytest
import torch
from safetensors.torch import load_file

from sslcli.cli import run

LOSS = {"name": "mae", "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}


@pytest.fixture
def start(tiny_recipe, tmp_path):
    """A run that has trained two steps."""
    assert run(["pretrain", str(recipe(tiny_recipe)), "--output", str(tmp_path / "start"), "--quiet"]) == 0
    return tmp_path / "start"


def recipe(tiny_recipe, **tables):
    """A masked autoencoder."""
    return tiny_recipe(**{"loss": [LOSS], "backbone": {"patch_size": 4}, **tables})


def saved(folder, step):
    """The tensors of a checkpoint."""
    return load_file(folder / "checkpoints" / f"step-{step:08d}" / "model.safetensors")


def test_a_run_goes_on_with_the_decoder_of_another(tiny_recipe, start, tmp_path, capsys):
    later = recipe(tiny_recipe, init=str(start), train={"init_losses": True}, optimizer={"lr": 1e-12})
    assert run(["pretrain", str(later), "--output", str(tmp_path / "later")]) == 0
    assert "tensors from" in capsys.readouterr().err
    torch.testing.assert_close(saved(tmp_path / "later", 2), saved(start, 2))


def test_a_checkpoint_can_be_named_too(tiny_recipe, start, tmp_path, capsys):
    checkpoint = start / "checkpoints" / "step-00000002"
    later = recipe(tiny_recipe, init=str(checkpoint), train={"init_losses": True})
    assert run(["pretrain", str(later), "--dry-run"]) == 0
    assert f"tensors from {checkpoint}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("loss", "said"),
    [({**LOSS, "decoder_width": 32}, "does not fit"), ({"name": "simclr"}, "nothing there is called as here")],
)
def test_losses_of_another_form_are_refused(tiny_recipe, start, capsys, loss, said):
    later = recipe(tiny_recipe, init=str(start), loss=[loss], train={"init_losses": True})
    assert run(["pretrain", str(later), "--dry-run"]) == 2
    assert said in capsys.readouterr().err


def test_weights_without_a_checkpoint_have_no_losses(tiny_recipe, start, capsys):
    later = recipe(tiny_recipe, init=str(start / "backbone.safetensors"), train={"init_losses": True})
    assert run(["pretrain", str(later), "--dry-run"]) == 2
    assert "only there are decoders and projectors kept" in capsys.readouterr().err


def test_a_damaged_checkpoint_that_is_named_is_told_of(tiny_recipe, start, capsys):
    checkpoint = start / "checkpoints" / "step-00000002"
    (checkpoint / "model.safetensors").write_bytes(b"nothing")
    later = recipe(tiny_recipe, init=str(start / "backbone.safetensors"), train={"init_losses": True})
    text = later.read_text().replace(str(start / "backbone.safetensors"), str(checkpoint))
    later.write_text(text)
    assert run(["pretrain", str(later), "--dry-run"]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_what_losses_share_is_counted_once_and_loaded(tiny_recipe, tmp_path, capsys):
    small = {"hidden": 16, "output": 8}
    losses = [{"name": f"patchmix.{name}", **small} for name in ("origin_to_origin", "mix_to_mix")]
    views = {"mixed": {"augmentation": "patchmix", "source": "global", "ring": 4}}
    tables = {"loss": losses, "views": views, "backbone": {"patch_size": 4}}
    assert run(["pretrain", str(tiny_recipe(**tables)), "--output", str(tmp_path / "first"), "--quiet"]) == 0
    later = tiny_recipe(**tables, init=str(tmp_path / "first"), train={"init_losses": True}, optimizer={"lr": 1e-12})
    capsys.readouterr()
    assert run(["pretrain", str(later), "--output", str(tmp_path / "second")]) == 0
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("losses: ")]
    count, _, total = told.removeprefix("losses: ").split(" tensors")[0].partition(" of ")
    assert count == total
