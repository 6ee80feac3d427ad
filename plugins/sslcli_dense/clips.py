"""Videos as folders of frames, with labels of the objects in them.

DIR/JPEGImages/480p/NAME/00000.jpg    DIR/Annotations/480p/NAME/00000.png    DAVIS, with lists in ImageSets/2017
DIR/frames/NAME/00000.jpg             DIR/labels/NAME/00000.png              any other

A label has 0 for the background, 255 for pixels that count for nothing, and other numbers for objects; a label of
0 and 255 alone, as of DAVIS 2016, shows one object.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslcli.data.folder import sub_folders
from sslcli.data.walk import ENDINGS
from sslcli.disk import expand
from sslcli.errors import UserError, did_you_mean
from sslcli_dense.labels import Label, read_label

FORMS = (("JPEGImages/480p", "Annotations/480p"), ("frames", "labels"))
LAYOUT = "DATA is DAVIS, or a folder with frames/NAME/*.jpg and labels/NAME/*.png"
LISTS, USUAL = ("ImageSets/2017", "ImageSets/2016", "ImageSets"), "val"
BACKGROUND, VOID = 0, 255


@dataclass(frozen=True)
class Clip:
    """The frames of a video in order, and the labels of some of them by the frame's number; the first has one."""

    name: str
    frames: tuple[Path, ...]
    labels: dict[int, Path]

    def judged(self, last: bool) -> list[int]:
        """The frames that are judged: those with a label but the first, and but the last unless it is wanted."""
        end = len(self.frames) - (0 if last else 1)
        return [number for number in self.labels if 0 < number < end]


def open_clips(data: str, split: str, *, last: bool) -> tuple[list[Clip], str]:
    """The videos in a folder, and what they are in words. Raises UserError."""
    root = expand(data)
    form = next(((root / frames, root / labels) for frames, labels in FORMS if (root / frames).is_dir()), None)
    if form is None:
        raise UserError(f"no folder of videos in {data}" if root.is_dir() else f"no folder {data}", LAYOUT)
    names, chosen = chosen_names(root, form[0], split)
    clips = [read_clip(name, *form) for name in names]
    blind = [clip.name for clip in clips if not clip.judged(last)]
    if blind:
        hint = "frames after the first need labels; of the last one they count with --last only"
        raise UserError(f"nothing to judge in {len(blind)} of {len(clips)} videos, such as '{blind[0]}'", hint)
    frames = sum(len(clip.frames) for clip in clips)
    return clips, f"{data}{chosen}: {len(clips)} videos, {frames} frames"


def chosen_names(root: Path, frames: Path, split: str) -> tuple[list[str], str]:
    """The videos of a list, or all. Raises UserError."""
    there = [folder.name for folder in sub_folders(frames)]
    if not there:
        raise UserError(f"no videos in {frames}", LAYOUT)
    wanted = split or USUAL
    file = next((root / lists / f"{wanted}.txt" for lists in LISTS if (root / lists / f"{wanted}.txt").is_file()), None)
    if file is None:
        if split:
            raise UserError(f"no list '{split}' in {root}", f"lists are files such as {LISTS[0]}/{USUAL}.txt")
        return there, ""
    names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    for name in names:
        if name not in there:
            raise UserError(f"{file} names '{name}', which is not in {frames}", did_you_mean(name, there))
    if not names:
        raise UserError(f"{file} names no video", "one name a line")
    return names, f" ({wanted})"


def read_clip(name: str, frames: Path, labels: Path) -> Clip:
    """A video by its name. Raises UserError where it has no frame, or its first frame no label."""
    pictures = sorted(path for path in (frames / name).iterdir() if is_picture(path))
    if not pictures:
        raise UserError(f"no pictures in {frames / name}", LAYOUT)
    files = {number: labels / name / f"{path.stem}.png" for number, path in enumerate(pictures)}
    found = {number: file for number, file in files.items() if file.is_file()}
    if 0 not in found:
        raise UserError(f"the first frame of '{name}' has no label: there is no {files[0]}", LAYOUT)
    return Clip(name, tuple(pictures), found)


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its ending, and not hidden."""
    return not path.name.startswith(".") and os.fsencode(path.suffix[1:].lower()) in ENDINGS


def objects_in(file: Path) -> Label:
    """The objects of a label by number, `[H, W]`. Raises BrokenPicture and UserError."""
    label = read_label(file)
    lonely = set(np.unique(label)) <= {BACKGROUND, VOID}
    return np.where(label == VOID, 1, label) if lonely else label
