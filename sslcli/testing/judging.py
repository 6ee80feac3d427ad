"""A tiny backbone on trial, for evaluations and figures: the random start of the smallest recipe, on drawn pictures."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from sslcli.api import EvaluationOptions, Offer
from sslcli.errors import UserError
from sslcli.evaluation.trial import Sets, Trial
from sslcli.plugins import resolve
from sslcli.testing.examples import example_options
from sslcli.testing.pictures import write_pictures
from sslcli.testing.recipes import tiny_document, write_recipe

PICTURES = 40


@dataclass(frozen=True)
class JudgingCase:
    """The code of an evaluation or a figure, its options, and the trial that it is called with."""

    code: Any
    options: Any
    trial: Trial
    home: TemporaryDirectory[str]  # of pictures and recipe; gone with the case

    def made(self, *, run: str = "", chance: int = 0) -> Any:
        """What the code gives, of the trial opened anew; `chance` is what global generators stand at."""
        trial = replace(self.trial, run=run or self.trial.run)
        assert trial.subject.said  # built now: that seeds the generator
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(chance)
            np.random.seed(chance)
            return self.code(self.options, trial)


def prepare_case(offer: Offer) -> JudgingCase:
    """Pictures and a recipe in a folder of their own."""
    home = TemporaryDirectory(prefix="sslcli-check-")
    folder = Path(home.name)
    data = str(write_pictures(folder / "pictures", PICTURES))
    options = example_options(offer, **offer.options.trial_values(folder, data))
    asked = offer.options.trial_data(folder) if issubclass(offer.options, EvaluationOptions) else ""
    recipe = write_recipe(folder / "tiny.toml", tiny_document(data, samples=PICTURES))
    trial = Trial(f"random:{recipe}", (Sets(asked or data),), cache=False)
    return JudgingCase(resolve(offer.code), options, trial, home)


def judge_pixels(case: JudgingCase) -> None:
    """Call it with raw pixels; to refuse them by a UserError is fine, and any other error is the complaint."""
    with suppress(UserError):
        case.made(run="pixels")
