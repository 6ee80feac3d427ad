"""The runs of `sslcli moce study`: a finished one is left alone, one that was begun goes on, others are trained."""

from typing import TYPE_CHECKING, Any

from sslcli.cli.output import talk
from sslcli.errors import UserError

if TYPE_CHECKING:
    from sslcli.data.source import Source
    from sslcli.recipe import Recipe
    from sslcli.training.signals import Stopped
    from sslcli_moce.commands.study_plan import Training

MORE = 3  # differences that are told
AGAIN = "name another folder for the study with -o, or take that run away"


def carry_out(training: "Training", source: "Source", *, quiet: bool) -> dict[str, Any]:
    """See to it that a run is finished; the numbers that it ended with.

    Raises UserError, and what training raises: RunError, Collapse, Stopped.
    """
    from sslcli.cli.progress import reporter
    from sslcli.evaluation.probe import make_probe
    from sslcli.recipe import load_recipe
    from sslcli.training.pretrain import pretrain, resume
    from sslcli.training.runs import RECIPE
    from sslcli.training.signals import Stopped

    recipe, state = training.load(), training.state
    if state != "to do":
        refuse_other(training, recipe, source)
    talk(f"{training.name}: {training.folder}, {state}")
    if state == "finished":
        return {}
    report = reporter(quiet=quiet)
    try:
        if state == "begun":
            resume(load_recipe(training.folder / RECIPE), training.folder, report=report, make_probe=make_probe)
        else:
            pretrain(recipe, folder=training.folder, report=report, make_probe=make_probe)
    except Stopped as stopped:
        raise told_again(stopped) from None
    finally:
        report.close()
    return report.last


def told_again(stopped: "Stopped") -> "Stopped":
    """A stop, with what to do about it in a study."""
    stopped.hint = "the same command goes on"
    return stopped


def refuse_other(training: "Training", recipe: "Recipe", source: "Source") -> None:
    """A run that is there must be the one that the study wants. Raises UserError."""
    from sslcli.recipe import load_recipe
    from sslcli.training.runs import RECIPE, placed, read_environment
    from sslcli_moce.commands.study_plan import different_keys

    found = load_recipe(training.folder / RECIPE).document
    differing = [
        f"{key} is {one}, and {other} is asked for"
        for key, (one, other) in different_keys(found, placed(recipe)).items()
    ]
    if differing:
        more = f", and {len(differing) - MORE} more" if len(differing) > MORE else ""
        raise UserError(f"{training.folder} was trained otherwise: {'; '.join(differing[:MORE])}{more}", AGAIN)
    began = read_environment(training.folder)["data"]
    if began["fingerprint"] != pictures_of(training, source).fingerprint:
        raise UserError(f"{training.folder} was trained on other pictures, {began['samples']} of them", AGAIN)


def pictures_of(training: "Training", source: "Source") -> "Source":
    """All pictures, or those of the half."""
    from sslcli.data.part import open_part

    return open_part(training.part, source) if training.part else source
