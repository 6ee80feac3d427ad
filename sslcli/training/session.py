"""What one process needs to train by a recipe: Accelerate, the pictures, the context, and whom to tell."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import ProjectConfiguration

from sslcli.api import Context
from sslcli.data.broken import BrokenCount, BrokenMaskCount
from sslcli.data.loader import Loader
from sslcli.data.masks import Masks, open_masks
from sslcli.data.part import PartOfMasks, absolute_part, open_part
from sslcli.data.sampler import BatchPlan
from sslcli.data.source import Source
from sslcli.data.sources import open_source
from sslcli.data.subset import Subset
from sslcli.disk import expand
from sslcli.errors import UserError, did_you_mean
from sslcli.nn.batchnorm import synchronise_batch_norm
from sslcli.nn.experts import perturb_experts
from sslcli.nn.stored import load_into, load_state
from sslcli.recipe.tables import Recipe
from sslcli.training.building import build_backbone, build_pretraining, context_of
from sslcli.training.loop import Loop, Probe, Reporter
from sslcli.training.pretraining import Pretraining
from sslcli.training.processes import PATIENCE, on_main
from sslcli.training.warm_start import load_losses


@dataclass(frozen=True)
class Session:
    """One process's part in training a recipe."""

    recipe: Recipe
    accelerator: Accelerator
    source: Source
    context: Context
    report: Reporter
    masks: Masks | None = None

    @classmethod
    def open(cls, recipe: Recipe, report: Reporter, *, trackers: bool = True) -> "Session":
        """Open the pictures; sizes that do not divide are refused before anything is built."""
        accelerator = make_accelerator(recipe, trackers=trackers)
        data = recipe.data
        opened = partial(open_source, data.train, data.split, max_megapixels=data.max_megapixels)
        indexed = on_main(accelerator, opened)  # the index of a large folder is made once, the others read it
        source = opened() if indexed is None else indexed
        report.note(source.said)
        if data.part:
            source = open_part(data.part, source)
            report.note(source.said)
        masks = masks_of(recipe, source)
        if masks is not None:
            report.note(masks.said)
        batch_plan(recipe, len(source), accelerator)
        context = context_of(
            recipe, samples=len(source), fingerprint=source.fingerprint, world_size=accelerator.num_processes
        )
        return cls(recipe, accelerator, source, context, report, masks)

    def model(self, *, init: bool = True) -> Pretraining:
        """The module to train, its backbone loaded from the recipe's `init` where it names one."""
        backbone = build_backbone(self.recipe, self.context)
        if self.recipe.init and init:
            self.report.note(load_into(backbone, load_state(self.recipe.init)).text())
        if self.recipe.routing is not None:
            perturb_experts(backbone, self.recipe.routing.options.perturbation, self.context.seed)
        pretraining = build_pretraining(self.recipe, self.context, backbone)
        if self.recipe.init and init and self.recipe.train.init_losses:
            self.report.note(load_losses(pretraining, expand(self.recipe.init), self.warn))
        if self.accelerator.num_processes > 1:
            synchronise_batch_norm(pretraining)
        if self.recipe.train.compile:
            pretraining.compile_backbones()
        return pretraining

    def loop(self, pretraining: Pretraining, probe: Probe | None = None) -> Loop:
        """The loop at its beginning, with no folder yet."""
        data, samples = self.recipe.data, len(self.source)
        broken = BrokenCount(samples, limit=data.broken_limit, policy=data.broken, warn=self.warn)
        masks = BrokenMaskCount(samples, limit=data.broken_limit, warn=self.warn)
        return Loop(self.recipe, self.context, self.accelerator, pretraining, self.report, broken, masks, probe)

    def warn(self, text: str) -> None:
        """Tell of something that is wrong, though the run goes on."""
        self.report.note(f"warning: {text}")

    def loader(self, pretraining: Pretraining) -> Loader:
        """The loader of this process."""
        return Loader(
            self.source,
            pretraining.views,
            {group: self.context.views[group] for group in self.recipe.views},
            batch_plan(self.recipe, len(self.source), self.accelerator),
            data=self.recipe.data,
            masks=self.masks,
            seed=self.recipe.train.seed,
            pin=self.accelerator.device.type == "cuda",
        )

    def described(self) -> dict[str, Any]:
        """The data of the run, as its environment notes them."""
        data = self.recipe.data
        facts = {"train": data.train, "samples": len(self.source), "fingerprint": self.source.fingerprint}
        facts |= {"part": absolute_part(data.part)} if data.part else {}
        return facts if self.masks is None else facts | {"masks": self.masks.fingerprint}


def masks_of(recipe: Recipe, source: Source) -> Masks | None:
    """The masks that the recipe names, where a view group looks at them. Raises UserError."""
    if not any(choice.options.reads_masks() for choice in recipe.views.values()):
        return None
    if isinstance(source, Subset):  # masks are called by the rows of the whole set
        return PartOfMasks(open_masks(recipe.data.masks, source.source), source)
    return open_masks(recipe.data.masks, source)


def make_accelerator(recipe: Recipe, *, trackers: bool) -> Accelerator:
    """Accelerate on what there is: its processes, its device, the recipe's precision."""
    refuse_missing_trackers(recipe.train.trackers)
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")  # Accelerate knows no other word for it yet
    AcceleratorState._reset_state()  # a second run in this process may want another precision
    return Accelerator(
        cpu=not torch.accelerator.is_available(),  # unless told, Accelerate starts no process group on a CPU
        mixed_precision=precision(recipe.train.precision),
        log_with=list(recipe.train.trackers) or None if trackers else None,
        project_config=ProjectConfiguration(project_dir=".", logging_dir="."),  # the run's folder, once it is there
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True),
            InitProcessGroupKwargs(timeout=PATIENCE),  # the others wait while one process probes
        ],
    )


def refuse_missing_trackers(names: Iterable[str]) -> None:
    """Trackers must be known to Accelerate, and installed."""
    known, installed = [str(name) for name in LOGGER_TYPE_TO_CLASS], [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in known:
            raise UserError(f"train.trackers: there is no tracker {name!r}", did_you_mean(name, known))
        if name not in installed:
            raise UserError(f"train.trackers: {name} is not installed", f"pip install {name}, or take it out")


def precision(wanted: str) -> str:
    """Accelerate's word for a precision; `auto` is bf16 where the GPU has it."""
    cuda = torch.cuda.is_available()
    if wanted == "fp16" and not cuda:
        raise UserError("train.precision = 'fp16' needs a GPU", "use 'bf16' or 'fp32' on a CPU")
    if wanted == "auto":
        return "bf16" if cuda and torch.cuda.is_bf16_supported() else "no"
    return "no" if wanted == "fp32" else wanted


def batch_plan(recipe: Recipe, samples: int, accelerator: Accelerator) -> BatchPlan:
    """Which samples this process sees, and when."""
    return BatchPlan(
        samples,
        recipe.train.batch_size,
        seed=recipe.train.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        accumulation=recipe.train.accumulation,
    )
