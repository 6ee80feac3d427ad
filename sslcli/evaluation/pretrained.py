"""All that was trained, not the backbone alone: a run's recipe built anew, with what its newest checkpoint holds."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from sslcli.disk import expand
from sslcli.errors import UserError
from sslcli.evaluation.trial import Trial
from sslcli.recipe import load_recipe
from sslcli.training.building import build_backbone, build_pretraining, context_of
from sslcli.training.checkpoint import MODEL, checkpoint_at, restore_model
from sslcli.training.pretraining import Pretraining
from sslcli.training.runs import RECIPE, read_environment


def open_pretraining(trial: Trial) -> Pretraining:
    """The module that a run trained, losses with their decoders and heads among it, in evaluation mode.

    RUN is a run or one of its checkpoints. Raises UserError for other things, and where no checkpoint is left.
    """
    checkpoint = checkpoint_of(trial)
    home = checkpoint.resolve().parent.parent
    recipe, data = load_recipe(home / RECIPE), read_environment(home).get("data", {})
    samples = max(int(data.get("samples", 0)), recipe.train.batch_size)
    context = context_of(recipe, samples=samples, fingerprint=data.get("fingerprint", ""))
    with torch.random.fork_rng(devices=[]):  # what is built draws a random start, which nobody else should notice
        pretraining = build_pretraining(recipe, context, build_backbone(recipe, context))
    try:
        restore_model(pretraining, load_file(checkpoint / MODEL))
    except RuntimeError as misfit:
        raise UserError(
            f"{checkpoint} does not fit {home / RECIPE}: {misfit}", "restore the recipe of the run"
        ) from None
    return pretraining.eval()


def checkpoint_of(trial: Trial) -> Path:
    """The folder of a checkpoint: the one that was named, or the newest whole one of a run. Raises UserError."""
    found = checkpoint_at(expand(trial.run), lambda text: trial.note(f"warning: {text}"))
    if found is None or not (found.resolve().parent.parent / RECIPE).is_file():
        raise UserError(
            f"{trial.run} has no checkpoint, and only there is what the losses learned",
            "name a run that was trained here, or one of its checkpoints",
        )
    return found
