"""`sslcli eval segment`: the class of every pixel, by a linear head on frozen patch tokens (arXiv:2304.07193)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sslcli.data.broken import BrokenCount
from sslcli.errors import UserError
from sslcli.evaluation.card import Card, normalise
from sslcli.evaluation.features import judging
from sslcli.evaluation.reports import Report
from sslcli.evaluation.trial import Trial
from sslcli.nn.image_sizes import fitted
from sslcli_dense.counting import Counts, Tally, confusion_of, tally
from sslcli_dense.evaluations.reading import folder_of, scenes_of
from sslcli_dense.head import Head, classes_at, learn
from sslcli_dense.keeping import NO_CLASS, Kept, keeping
from sslcli_dense.maps import Maps, stride_of
from sslcli_dense.options import SegmentOptions
from sslcli_dense.resampling import ends
from sslcli_dense.scenes import Part, Scene, Scenes, open_scenes


def judge(options: SegmentOptions, trial: Trial) -> Report:
    """Mean IoU and share of pixels told right on the test pictures, and the IoU of every class."""
    scenes = open_scenes(folder_of(trial), options.seed)
    side = side_of(options, trial)
    maps = Maps(fitted(trial.backbone, (side, side), hint="leave --image-size out"), options.layers)
    broken = trial.broken_count(len(scenes.train) + len(scenes.test))
    with keeping() as folder:
        kept = encoded(maps, scenes.train, side, folder, options, trial, broken)
        classes = classes_of(kept, options, scenes)
        trial.note(f"a head for {classes} classes learns from {len(kept)} pictures")
        head = learn(kept, classes, options, trial.device)
        learnt_from, (rows, columns) = len(kept), kept.maps.shape[2:]
    found = tally(list(tested(maps, head, scenes.test, side, options, trial, broken)))
    facts = {
        "train": learnt_from,
        "test": len(found.hits),
        "classes": classes,
        "image_size": side,
        "tokens": f"{rows} x {columns}",
        "width": head.norm.num_features,
        "layers": options.layers,
        "epochs": options.epochs,
    }
    shares = ("iou", "pixel_accuracy", "pixels")
    results = results_of(found, scenes.names, options.seed)
    return Report("segment", trial.run, trial.subject.said, scenes.said, results, facts, shares=shares)


def side_of(options: SegmentOptions, trial: Trial) -> int:
    """The side that pictures are resized to: whole tokens. Raises UserError where it is no such size, or too small."""
    stride = stride_of(trial.backbone, trial.card.image_size)
    side = options.image_size or -(-trial.card.image_size // stride) * stride
    if side % stride:
        near = max(round(side / stride), 2) * stride
        raise UserError(f"--image-size {side} is no multiple of the {stride} pixels of a token", f"take {near}")
    if side == stride:
        raise UserError(
            f"a picture of {side} x {side} pixels is a single token to this backbone",
            f"show it larger pictures: --image-size {8 * stride}",
        )
    return side


def encoded(
    maps: Maps, part: Part, side: int, folder: Path, options: SegmentOptions, trial: Trial, broken: BrokenCount
) -> Kept:
    """Maps and labels of the training pictures. Raises UserError where none could be read."""
    kept: Kept | None = None
    with judging(maps, trial.device):
        for scenes in scenes_of(part, side, options.batch, broken):
            found = maps(images_of(scenes, trial.card, trial.device))
            kept = kept or Kept(folder, len(part), tuple(found.shape[1:]), side)
            kept.add(found, np.stack([small_label(label, side, options.ignore) for _, _, label in scenes]))
    if kept is None:
        raise UserError("none of the training pictures could be read", "see the warnings above")
    return kept


def tested(
    maps: Maps, head: Head, part: Part, side: int, options: SegmentOptions, trial: Trial, broken: BrokenCount
) -> Iterator[Counts]:
    """The confusion matrix of every test picture, at the size of its label. Raises UserError for unknown classes."""
    classes = head.classify.out_channels
    with judging(maps, trial.device), judging(head, trial.device):
        for scenes in scenes_of(part, side, options.batch, broken):
            logits = head(maps(images_of(scenes, trial.card, trial.device)))
            for (index, _, label), one in zip(scenes, logits, strict=True):
                highest = label[label != options.ignore].max(initial=0)
                if highest >= classes:
                    raise UserError(
                        f"{part.source.name(index)} has pixels of class {highest}, but there are {classes} classes",
                        "say how many there are: --classes N; or which number counts for nothing: --ignore N",
                    )
                predicted = classes_at(one, label.shape).cpu().numpy()
                yield confusion_of(label, predicted, classes, options.ignore)


def images_of(scenes: list[Scene], card: Card, device: torch.device) -> Tensor:
    """Normalised images `[B, 3, S, S]`."""
    return normalise(torch.from_numpy(np.stack([picture for _, picture, _ in scenes])).to(device), card)


def small_label(label: NDArray[np.int64], side: int, ignore: int) -> NDArray[np.int64]:
    """A label resized to a square, each pixel the nearest, and `NO_CLASS` where it counts for nothing."""
    small = Image.fromarray(label.astype(np.int32)).resize((side, side), Image.Resampling.NEAREST)
    numbers = np.asarray(small, dtype=np.int64)
    return np.where(numbers == ignore, NO_CLASS, numbers)


def classes_of(kept: Kept, options: SegmentOptions, scenes: Scenes) -> int:
    """How many classes there are. Raises UserError where labels name more, or one alone."""
    named: set[int] = set()
    for number in range(len(kept)):
        named.update(np.unique(kept.labels[number]).tolist())
    named -= {NO_CLASS}
    if len(named) < 2:
        what = f"only class {named.pop()}" if named else "no class at all"
        raise UserError(f"the labels of the training pictures name {what}", "judging needs two classes at least")
    count = options.classes or max(max(named) + 1, len(scenes.names))
    if max(named) >= count:
        raise UserError(
            f"the labels name class {max(named)}, but there are {count} classes, from 0",
            "give a larger --classes, or say which number counts for nothing: --ignore N",
        )
    return count


def results_of(found: Tally, names: tuple[str, ...], seed: int) -> list[dict[str, Any]]:
    """A row for all classes, and one for each that occurs."""
    total, drawn = found.together(), found.resamples(seed)
    everything = {
        "class": "all",
        "iou": float(total.mean_iou()),
        "iou_interval": ends(drawn.mean_iou()),
        "pixel_accuracy": float(total.accuracy()),
        "pixel_accuracy_interval": ends(drawn.accuracy()),
        "pixels": 1.0,
    }
    ious, parts = total.ious(), np.asarray(total.truth / max(total.truth.sum(), 1))
    each = [
        {"class": names[number] if number < len(names) else str(number), "iou": float(iou), "pixels": float(share)}
        for number, (iou, share) in enumerate(zip(ious, parts))
        if np.isfinite(iou)
    ]
    return [everything, *each]
