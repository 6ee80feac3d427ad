"""`sslcli eval video`: objects followed through videos by patches alone, nothing trained (arXiv:2104.14294).

J, F        means over an object's judged frames, then over all objects
interval    over videos drawn with replacement, for the objects of one are alike; none where there is a single video
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sslcli.data.pictures import read_picture
from sslcli.errors import UserError
from sslcli.evaluation.card import normalise
from sslcli.evaluation.features import judging
from sslcli.evaluation.reports import Report
from sslcli.evaluation.trial import Trial
from sslcli.nn.image_sizes import Size, fitted
from sslcli_dense.clips import BACKGROUND, VOID, Clip, objects_in, open_clips
from sslcli_dense.evaluations.reading import folder_of
from sslcli_dense.labels import Label
from sslcli_dense.maps import Maps, stride_of
from sslcli_dense.options import VideoOptions
from sslcli_dense.propagation import first_labels, objects_of, propagate
from sslcli_dense.regions import boundary_score, region_score
from sslcli_dense.resampling import ends, resampled

SCORES = {"j": region_score, "f": boundary_score}


@dataclass(frozen=True)
class Followed:
    """A video that was followed: J and F of every object, `[objects]` each, and how many frames were judged."""

    name: str
    scores: Mapping[str, Sequence[float]]
    frames: int


def judge(options: VideoOptions, trial: Trial) -> Report:
    """J, F and their mean over all objects, and for every video."""
    clips, said = open_clips(folder_of(trial), options.split, last=options.last)
    follower = Follower(options, trial)
    followed = []
    for number, clip in enumerate(clips, start=1):
        followed.append(follower.follow(clip))
        trial.note(f"video {number} of {len(clips)}: {clip.name}")
    facts = {
        "videos": len(clips),
        "objects": sum(len(one.scores["j"]) for one in followed),
        "token": f"{follower.stride} x {follower.stride} pixels of the resized frame",
        "last_frames": options.last_frames,
        "radius": options.radius,
        "topk": options.topk,
        "temperature": options.temperature,
    }
    results = results_of(followed, options.seed)
    return Report("video", trial.run, trial.subject.said, said, results, facts, shares=("j_and_f", "j", "f"))


class Follower:
    """A backbone that follows objects; a copy of it for frames of another size is kept while the size stays."""

    def __init__(self, options: VideoOptions, trial: Trial) -> None:
        self.options, self.trial = options, trial
        self.stride = stride_of(trial.backbone, trial.card.image_size)
        self.size: Size = (0, 0)
        self.maps = Maps(trial.backbone)

    def follow(self, clip: Clip) -> Followed:
        """Follow the objects of a video, and judge them."""
        begin = objects_in(clip.labels[0])
        objects = [int(name) for name in np.unique(begin) if name not in (BACKGROUND, VOID)]
        if not objects:
            raise UserError(f"the first frame of '{clip.name}' shows no object", "its label has only 0 and 255")
        self.adapt(begin.shape)
        first = first_labels(begin, objects, (self.size[0] // self.stride, self.size[1] // self.stride))
        judged = clip.judged(self.options.last)
        found: dict[str, list[list[float]]] = {name: [] for name in SCORES}
        with judging(self.maps, self.trial.device):
            shares = propagate(self.encoded(clip.frames), first.to(self.trial.device), self.options)
            for number, share in enumerate(shares, start=1):
                if number in judged:
                    truth = checked(clip, number, begin.shape)
                    for name, scores in scores_of(objects_of(share, begin.shape), truth, objects).items():
                        found[name].append(scores)
        means = {name: np.mean(rows, axis=0).tolist() for name, rows in found.items()}
        return Followed(clip.name, means, len(judged))

    def adapt(self, shape: Size) -> None:
        """Be ready for frames of this shape, resized to whole tokens. Raises UserError where the backbone cannot."""
        scale = self.options.image_size / min(shape) if self.options.image_size else 1.0
        height, width = (max(round(side * scale / self.stride), 1) * self.stride for side in shape)
        if min(height, width) < 2 * self.stride:
            hint = f"--image-size {8 * self.stride}"
            raise UserError(f"frames of {height} x {width} pixels are next to no tokens of {self.stride} pixels", hint)
        if (height, width) != self.size:
            self.size = (height, width)
            hint = "name a backbone that takes frames of any size, such as a ViT or a ResNet"
            self.maps = Maps(fitted(self.trial.backbone, self.size, hint=hint))

    def encoded(self, frames: Sequence[Path]) -> Iterator[Tensor]:
        """Maps `[D, rows, columns]` of frames. Raises BrokenPicture: a video cannot be followed over a gap."""
        for frame in frames:
            picture = read_picture(frame).resize(self.size[::-1], Image.Resampling.BICUBIC)
            shown = torch.from_numpy(np.array(picture))[None].to(self.trial.device)
            yield self.maps(normalise(shown, self.trial.card))[0]


def checked(clip: Clip, number: int, shape: Size) -> Label:
    """The label of a frame. Raises UserError where it is of another size than the first."""
    label = objects_in(clip.labels[number])
    if label.shape != shape:
        raise UserError(
            f"{clip.labels[number]} is of another size than the label of the first frame",
            "all labels of a video have one size: resize this one, or leave the video out",
        )
    return label


def scores_of(found: Label, truth: Label, objects: Sequence[int]) -> dict[str, list[float]]:
    """J and F of every object in one frame; objects that the first frame does not show are not judged."""
    counts = truth != VOID
    return {
        score: [measure(found == number, truth == name, counts) for number, name in enumerate(objects, start=1)]
        for score, measure in SCORES.items()
    }


def results_of(followed: Sequence[Followed], seed: int) -> list[dict[str, Any]]:
    """A row for all videos, and one for each."""
    sums = np.array([[sum(one.scores["j"]), sum(one.scores["f"]), len(one.scores["j"])] for one in followed])
    total = sums.sum(axis=0)
    everything = row_of(
        "all", total[0] / total[2], total[1] / total[2], int(total[2]), sum(one.frames for one in followed)
    )
    if len(followed) > 1:
        drawn = resampled(sums, seed)
        j, f = drawn[:, 0] / drawn[:, 2], drawn[:, 1] / drawn[:, 2]
        everything |= {"j_and_f_interval": ends((j + f) / 2), "j_interval": ends(j), "f_interval": ends(f)}
    each = [
        row_of(one.name, float(np.mean(one.scores["j"])), float(np.mean(one.scores["f"])), objects, one.frames)
        for one, objects in zip(followed, sums[:, 2].astype(int).tolist())
    ]
    return [everything, *each]


def row_of(video: str, j: float, f: float, objects: int, frames: int) -> dict[str, Any]:
    """The scores of a video, or of all."""
    j, f = float(j), float(f)
    return {"video": video, "j_and_f": (j + f) / 2, "j": j, "f": f, "objects": objects, "frames": frames}
