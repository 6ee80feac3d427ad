"""From a recipe to a trained run: everything is built and checked before the run's folder is made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from sslcli.plugins import load_registry, provenance
from sslcli.recipe import to_toml
from sslcli.recipe.tables import Recipe
from sslcli.training import runs
from sslcli.training.building import parameter_count
from sslcli.training.export import export
from sslcli.training.feeding import on_device
from sslcli.training.loop import Loop, Probe, Reporter
from sslcli.training.pretraining import Pretraining
from sslcli.training.session import Session
from sslcli.training.signals import StopRequest

MakeProbe = Callable[[Recipe], Probe | None]


def pretrain(recipe: Recipe, *, folder: Path | None, report: Reporter, make_probe: MakeProbe) -> Path:
    """Train a new run; `folder` is `runs/<name>` when left out. Returns the run's folder."""
    session = Session.open(recipe, report)
    pretraining = session.model()
    probe = make_probe(recipe) if recipe.probe is not None else None
    return train(session, session.loop(pretraining, agreed_folder(session, folder), probe), pretraining)


def resume(recipe: Recipe, folder: Path, *, report: Reporter, make_probe: MakeProbe) -> Path:
    """Go on with a run from its newest whole checkpoint; a finished one is left as it is."""
    session = Session.open(recipe, report)
    runs.refuse_changed_data(folder, session.described())
    begun = any((folder / "checkpoints").glob("step-*"))
    pretraining = session.model(init=not begun)
    probe = make_probe(recipe) if recipe.probe is not None else None
    loop = session.loop(pretraining, folder, probe)
    if session.accelerator.is_main_process:
        runs.add_session(folder)
    take_up(loop, report)
    return train(session, loop, pretraining)


def rehearse(recipe: Recipe, *, report: Reporter) -> dict[str, Any]:
    """Build everything, train nothing, write nothing: the numbers that describe the run."""
    session = Session.open(recipe, report, trackers=False)
    pretraining = session.model()
    session.loop(pretraining, Path())
    return {
        "name": recipe.name,
        "pictures": session.context.samples,
        "steps": session.context.steps,
        "steps_per_epoch": session.context.steps_per_epoch,
        "backbone_parameters": parameter_count(pretraining.student),
        "trained_parameters": parameter_count(pretraining),
        "device": str(session.accelerator.device),
        "processes": session.accelerator.num_processes,
        "precision": str(session.accelerator.mixed_precision),
    }


def train(session: Session, loop: Loop, pretraining: Pretraining) -> Path:
    """Loop from where it stands to the end, and hand over what was trained."""
    stop = StopRequest()
    try:
        start_trackers(session.accelerator, session.recipe, loop.folder)
        batches = session.loader(pretraining).batches(loop.step, session.context.steps)
        loop.run(on_device(batches, session.accelerator.device), stop)
    finally:
        stop.close()
    if session.accelerator.is_main_process:
        export(loop)
    session.accelerator.end_training()
    return loop.folder


def agreed_folder(session: Session, folder: Path | None) -> Path:
    """Make the run's folder on the main process; all others learn its name."""
    made: list[Any] = [None]
    recipe = session.recipe
    if session.accelerator.is_main_process:
        registry = load_registry(tuple(Path(file) for file in recipe.document.get("plugins", ())))
        noted = runs.environment(data=session.described(), plugins=provenance(registry, recipe.offers()))
        made = [runs.create(folder or runs.free_folder(recipe.name), to_toml(runs.placed(recipe.document)), noted)]
    broadcast_object_list(made)
    path: Path = made[0]
    return path


def take_up(loop: Loop, report: Reporter) -> None:
    """Stand where the newest whole checkpoint stood, or at the beginning."""
    saved = loop.checkpoints.newest(lambda text: report.note(f"warning: {text}"))
    if saved is not None:
        loop.restore(saved)
    if loop.accelerator.is_main_process:
        loop.metrics.cut_after(loop.step)
    report.note(f"going on from step {loop.step} of {loop.context.steps}")
    loop.accelerator.wait_for_everyone()


def start_trackers(accelerator: Accelerator, recipe: Recipe, folder: Path) -> None:
    """TensorBoard, W&B and so on, writing into the run's folder where they write files."""
    if not recipe.train.trackers:
        return
    accelerator.project_configuration.project_dir = str(folder)
    accelerator.project_configuration.logging_dir = str(folder)
    accelerator.init_trackers(recipe.name)
