"""Small sets that one can try both judgements on: coloured rectangles, and rectangles that move."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = np.array([(40, 40, 200), (220, 60, 30), (30, 200, 60)], np.uint8)  # of the ground and of two objects


def write_scenes(root: Path, count: int = 25) -> Path:
    """Pictures of 20 to 28 pixels a side with two rectangles, in two folders, and their labels; their first row is 255.

    `root/images/0/00.png`, `root/labels/0/00.png`, `root/classes.txt`.
    """
    chance = np.random.default_rng(0)
    for number in range(count):
        label = np.zeros(chance.integers(20, 29, 2), np.uint8)
        for name in (1, 2):
            top, left = chance.integers(0, 12, 2)
            label[top : top + 9, left : left + 9] = name
        label[0] = 255
        called = f"{number % 2}/{number:02}"
        write(root / "images" / f"{called}.png", painted(label))
        write(root / "labels" / f"{called}.png", Image.fromarray(label))
    (root / "classes.txt").write_text("ground\nred\ngreen\n", encoding="utf-8")
    return root


def write_clips(root: Path, names: tuple[str, ...] = ("a", "b"), count: int = 5) -> Path:
    """Videos of 32 x 48 pixels in which two rectangles move towards each other: `root/frames/a/00000.jpg`."""
    for name in names:
        write_clip(root / "frames" / name, root / "labels" / name, count)
    return root


def write_clip(frames: Path, labels: Path, count: int = 5) -> None:
    """One video, and labels with a palette."""
    for number in range(count):
        label = np.zeros((32, 48), np.uint8)
        label[8:24, 4 + number : 16 + number] = 1
        label[12:20, 40 - number : 46 - number] = 2
        shown = Image.fromarray(label)
        shown.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        write(frames / f"{number:05}.jpg", painted(label))
        write(labels / f"{number:05}.png", shown)


def painted(label: NDArray[np.uint8]) -> Image.Image:
    """A label in colours; what counts for nothing is ground."""
    return Image.fromarray(COLOURS[np.where(label == 255, 0, label)])


def write(path: Path, image: Image.Image) -> None:
    """A picture in a file; folders on the way are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
