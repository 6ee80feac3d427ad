"""Synthetic pictures, the same for the same seed: coloured shapes on gradients, in sizes that differ."""

import random
from pathlib import Path

from PIL import Image, ImageDraw

SHAPES = ("ellipse", "rectangle")


def draw_picture(seed: int, shape: str) -> Image.Image:
    """An RGB picture of 24 to 40 pixels a side with one shape on it."""
    chance = random.Random(seed)
    width, height = chance.randint(24, 40), chance.randint(24, 40)
    picture = Image.linear_gradient("L").resize((width, height)).rotate(90 * chance.randrange(4))
    coloured = Image.merge("RGB", [picture.point([value * chance.randint(20, 90) // 100 for value in range(256)])] * 3)
    left, top = chance.randint(1, width // 3), chance.randint(1, height // 3)
    box = (left, top, left + width // 2, top + height // 2)
    getattr(ImageDraw.Draw(coloured), shape)(box, fill=tuple(chance.randint(0, 255) for _ in range(3)))
    return coloured


def write_masks(folder: Path, pictures: Path) -> Path:
    """A mask of the middle of each picture in a folder, called as `Source.key` calls the picture."""
    for path in sorted(pictures.rglob("*.png")):
        width, height = Image.open(path).size
        mask = Image.new("1", (width, height))
        ImageDraw.Draw(mask).ellipse((width // 4, height // 4, 3 * width // 4, 3 * height // 4), fill=1)
        place = folder / f"{path.relative_to(pictures)}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        mask.save(place)
    return folder


def write_pictures(folder: Path, count: int = 24) -> Path:
    """`count` pictures as PNG files in a folder a class, `folder/ellipse` and `folder/rectangle`."""
    for number in range(count):
        shape = SHAPES[number % len(SHAPES)]
        path = folder / shape / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_picture(number, shape).save(path)
    return folder
