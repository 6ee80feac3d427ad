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
from sslcli.training.moment import restore
from sslcli.training.processes import on_main
from sslcli.training.session import Session
from sslcli.training.signals import StopRequest

MakeProbe = Callable[[Recipe], Probe | None]


def pretrain(recipe: Recipe, *, folder: Path | None, report: Reporter, make_probe: MakeProbe) -> Path:
    """Train a new run; `folder` is `runs/<name>` when left out. Returns the run's folder."""
    with StopRequest() as stop:
        session = Session.open(recipe, report)
        pretraining = session.model()
        probe = make_probe(recipe) if recipe.probe is not None else None
        loop = session.loop(pretraining, probe)
        return train(session, loop.settle(agreed_folder(session, folder)), stop)


def resume(recipe: Recipe, folder: Path, *, report: Reporter, make_probe: MakeProbe) -> Path:
    """Go on with a run from its newest whole checkpoint; a finished one is left as it is."""
    with StopRequest() as stop:
        session = Session.open(recipe, report)
        runs.refuse_changed_data(folder, session.described())
        begun = any((folder / "checkpoints").glob("step-*"))
        pretraining = session.model(init=not begun)
        probe = make_probe(recipe) if recipe.probe is not None else None
        loop = session.loop(pretraining, probe).settle(folder)
        take_up(loop, report)
        return train(session, loop, stop)


def rehearse(recipe: Recipe, *, report: Reporter, make_probe: MakeProbe) -> dict[str, Any]:
    """Build everything, train nothing, write nothing: the numbers that describe the run."""
    session = Session.open(recipe, report, trackers=False)
    pretraining = session.model()
    session.loop(pretraining, make_probe(recipe) if recipe.probe is not None else None)
    return {
        "name": recipe.name,
        "pictures": session.context.samples,
        "steps": session.context.steps,
        "steps_per_epoch": session.context.steps_per_epoch,
        "backbone_parameters": parameter_count(pretraining.student),
        "trained_parameters": parameter_count(pretraining),
        "device": str(session.accelerator.device),
        "processes": session.accelerator.num_processes,
        "precision": session.accelerator.mixed_precision.replace("no", "fp32"),
    }


def train(session: Session, loop: Loop, stop: StopRequest) -> Path:
    """Loop from where it stands to the end, and hand over what was trained."""
    start_trackers(session.accelerator, session.recipe, loop.folder)
    batches = session.loader(loop.pretraining).batches(loop.step, session.context.steps)
    loop.run(on_device(batches, session.accelerator.device), stop)
    on_main(session.accelerator, lambda: export(loop))
    session.accelerator.end_training()
    return loop.folder


def agreed_folder(session: Session, folder: Path | None) -> Path:
    """Make the run's folder on the main process; all others learn its name."""
    recipe = session.recipe

    def make() -> Path:
        registry = load_registry(tuple(Path(file) for file in recipe.document.get("plugins", ())))
        noted = runs.environment(data=session.described(), plugins=provenance(registry, recipe.offers()))
        return runs.create(folder or runs.free_folder(recipe.name), to_toml(runs.placed(recipe)), noted)

    made: list[Any] = [on_main(session.accelerator, make)]
    broadcast_object_list(made)
    path: Path = made[0]
    return path


def take_up(loop: Loop, report: Reporter) -> None:
    """Stand where the newest whole checkpoint stood, or at the beginning."""
    saved = loop.checkpoints.newest(lambda text: report.note(f"warning: {text}"))
    if saved is not None:
        restore(loop, saved)

    def tidy() -> None:
        runs.add_session(loop.folder)
        loop.metrics.cut_after(loop.step)

    on_main(loop.accelerator, tidy)
    report.note(f"going on from step {loop.step} of {loop.context.steps}")


def start_trackers(accelerator: Accelerator, recipe: Recipe, folder: Path) -> None:
    """TensorBoard, W&B and so on, writing into the run's folder where they write files."""
    if not recipe.train.trackers:
        return
    accelerator.project_configuration.project_dir = str(folder)
    accelerator.project_configuration.logging_dir = str(folder)
    accelerator.init_trackers(recipe.name)
