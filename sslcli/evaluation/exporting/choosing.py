"""Which network of a RUN is handed over: the student, the teacher, or the one network that there is.

`backbone.safetensors` holds the one that the recipe exports; the other is in the checkpoints alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from sslcli.disk import expand
from sslcli.errors import UserError
from sslcli.evaluation.opening import newest_whole, open_subject, weights_in
from sslcli.evaluation.subjects import Subject
from sslcli.nn import Backbone
from sslcli.nn.experts import experts_in
from sslcli.nn.stored import read_card
from sslcli.recipe.loading import recipe_from_document
from sslcli.training.building import context_of
from sslcli.training.checkpoint import MODEL
from sslcli.training.export import card_of
from sslcli.training.runs import RECIPE

Note = Callable[[str], None]


@dataclass(frozen=True)
class Chosen:
    """A network to hand over, and what is known of it."""

    run: str  # as the person wrote it
    network: str  # student or teacher; backbone for what was never trained here
    subject: Subject
    backbone: Backbone  # inside the subject, in evaluation mode
    folder: Path | None  # of the run
    facts: Mapping[str, Any]  # the card that is kept with it: recipe, step, how it is shown pictures

    @property
    def size(self) -> int:
        """The side of the images it is shown, in pixels."""
        return self.subject.card.image_size


def choose(run: str, network: str = "", *, note: Note = lambda line: None) -> Chosen:
    """The network that a person asked for, or the one that the run exports. Raises UserError where it is not there."""
    path = expand(run)
    if not path.exists():
        return of_name(run, network, note)
    saved = path if path.is_dir() else path.parent
    if path.is_file() or weights_in(saved) is not None:
        kept = read_card(path).get("network", "backbone")
        if network in ("", kept):
            return plain(run, kept, open_subject(run, note=note), saved, read_card(path))
        return of_checkpoint(run, checkpoint_beside(saved, run, kept, note), network)
    checkpoint = path if (path / MODEL).is_file() or not (path / RECIPE).is_file() else newest_whole(path, note)
    return of_checkpoint(run, checkpoint, network)


def of_name(run: str, network: str, note: Note) -> Chosen:
    """What is no file: `timm:NAME`, or the random start of a recipe."""
    subject = open_subject(run, note=note)
    if network:
        raise UserError(f"{run} is one network, without a student or a teacher", "leave out --network")
    facts = {"recipe": subject.said, "pool": "auto", **subject.card.document()}
    return plain(run, "backbone", subject, None, facts)


def checkpoint_beside(folder: Path, run: str, kept: str, note: Note) -> Path:
    """The newest whole checkpoint of a run, for the network that its saved backbone is not."""
    if not (folder / RECIPE).is_file() or not any((folder / "checkpoints").glob("step-*")):
        raise UserError(
            f"{run} has saved its {kept}, and there is no checkpoint that would hold another network",
            f"leave out --network, or say '--network {kept}'" if kept != "backbone" else "leave out --network",
        )
    return newest_whole(folder, note)


def of_checkpoint(run: str, checkpoint: Path, network: str) -> Chosen:
    """A network inside a checkpoint; the one that the recipe exports where none is named."""
    twins = (checkpoint / MODEL).is_file() and has_teacher(checkpoint)
    if network == "teacher" and not twins:
        raise UserError(f"{run} has no teacher: none of its losses asks for one", "leave out --network")
    wanted = [f"teacher.export={str(network == 'teacher').lower()}"] if network else []
    subject = open_subject(str(checkpoint), overrides=wanted)
    taught = twins and bool(subject.recipe.get("teacher", {}).get("export"))
    chosen = "teacher" if taught else "student"
    return plain(run, chosen, subject, checkpoint.resolve().parent.parent, facts_of(subject, checkpoint, chosen))


def has_teacher(checkpoint: Path) -> bool:
    """Whether a checkpoint holds two backbones."""
    try:
        with safe_open(checkpoint / MODEL, framework="pt") as file:
            return any(name.startswith("backbone.target.") for name in list(file.keys()))
    except (SafetensorError, OSError) as failure:
        raise UserError(f"{checkpoint / MODEL} cannot be read: {failure}", "choose another checkpoint") from None


def facts_of(subject: Subject, checkpoint: Path, network: str) -> dict[str, Any]:
    """The card of a network that was never saved alone."""
    recipe = recipe_from_document(subject.recipe, origin=f"the recipe of {subject.run}")
    card = card_of(recipe, context_of(recipe, samples=recipe.train.batch_size))
    return card | {"network": network, "step": int(checkpoint.resolve().name.removeprefix("step-"))}


def plain(run: str, network: str, subject: Subject, folder: Path | None, facts: Mapping[str, Any]) -> Chosen:
    """The network, unless it is one that no other tool has."""
    subject.encoder.eval().requires_grad_(False)
    backbone = getattr(subject.encoder, "backbone", None)
    if not isinstance(backbone, Backbone):
        raise UserError(f"{run} has no backbone", "name a run, a checkpoint, a backbone.safetensors or timm:NAME")
    if any(True for _ in experts_in(backbone)):
        raise UserError(
            f"{run} is a mixture of experts, which no other tool has",
            f"take one expert a block out of it first: sslcli moce select-expert {run} --dataset ./my-task -o my-task",
        )
    home = folder if folder is not None and (folder / RECIPE).is_file() else None
    return Chosen(run, network, subject, backbone, home, facts)
