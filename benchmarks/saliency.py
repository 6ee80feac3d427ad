"""How well `sslcli saliency compute` finds objects whose outlines are known, and how fast, on one core.

    python benchmarks/saliency.py [SPEC] [--pictures 120] [--json]

Objects of a set of pictures on white (default: demo) are pasted, in sizes and places drawn by chance, onto textures
and onto whole scenes, which have things of their own in them. Told are, for each method alone, for all together and
for the finished mask: the mean overlap with the truth (intersection over union), the share of the object that is kept,
and the share of the background that is removed. Also told: the finished masks of the pictures as they are, on white.
The photographs come with scikit-image, and with scikit-learn where it is there.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label
from sslcli_saliency.colour import lab_of
from sslcli_saliency.estimation import ESTIMATORS, LEANING, Settings, averaged, estimate, levelled, pixels_of
from sslcli_saliency.maps import Values, otsu
from sslcli_saliency.superpixels import Superpixels, superpixels_of

from sslcli.data.sources import open_source

Mask = NDArray[np.bool_]
Score = tuple[float, float, float]  # overlap, share of the object kept, share of the background removed
SIZE = (341, 256)  # of the pictures that are made
TEXTURES = {  # file of scikit-image -> the box of it that is all texture, or all of it
    "grass.png": None,
    "gravel.png": None,
    "brick.png": None,
    "moon.png": None,
    "ihc.png": None,
    "hubble_deep_field.jpg": None,
    "retina.jpg": (400, 400, 1000, 1000),
    "chelsea.png": (150, 0, 290, 105),
    "coffee.png": (0, 0, 120, 90),
    "rocket.jpg": (200, 20, 400, 170),
}
SCENES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "coins.png")
PLAIN = Settings(dilation=0.0)  # a mask that is wider than it must be overlaps less


@dataclass(frozen=True)
class Case:
    """A picture whose object is known."""

    picture: Image.Image
    truth: Mask


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", nargs="?", default="demo")
    parser.add_argument("--pictures", type=int, default=120, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    objects = list(on_white(options.spec, options.pictures))
    report = {
        "textures": measured(list(pasted(objects, textures(), options.seed))),
        "scenes": measured(list(pasted(objects, scenes(), options.seed))),
        "white": {"finished": finished(objects)},
    }
    print(json.dumps(report, indent=2) if options.json else in_words(report))


def on_white(spec: str, count: int) -> Iterator[Case]:
    """Pictures of a set, evenly spread: what is not white, or not reached from the border over white, is the object."""
    source = open_source(spec)
    for number in range(count):
        picture = source.image(number * len(source) // count)
        white = np.asarray(picture).min(axis=2) > 240
        regions, _ = label(np.pad(white, 1, constant_values=True))
        truth = regions[1:-1, 1:-1] != regions[0, 0]
        if 0.1 < truth.mean() < 0.95:
            yield Case(picture, truth)


def textures() -> list[Image.Image]:
    """Grounds without a thing on them."""
    return [photograph(name).crop(box) if box else photograph(name) for name, box in TEXTURES.items()]


def scenes() -> list[Image.Image]:
    """Grounds with things of their own."""
    found = [photograph(name) for name in SCENES]
    try:
        from sklearn.datasets import load_sample_images
    except ImportError:
        return found
    return found + [Image.fromarray(pixels) for pixels in load_sample_images().images]


def photograph(name: str) -> Image.Image:
    """A photograph that comes with scikit-image."""
    with (files("skimage") / "data" / name).open("rb") as file:
        return Image.open(file).convert("RGB")


def pasted(objects: list[Case], grounds: list[Image.Image], seed: int) -> Iterator[Case]:
    """Each object on a ground, in turn."""
    chance = np.random.default_rng(seed)
    for number, thing in enumerate(objects):
        yield composed(thing, part_of(grounds[number % len(grounds)], chance), chance)


def part_of(ground: Image.Image, chance: np.random.Generator) -> Image.Image:
    """A part of a photograph, in the size of the pictures that are made."""
    whole = min(ground.width / SIZE[0], ground.height / SIZE[1])
    scale = chance.uniform(0.6, 1.0) * whole
    width, height = round(SIZE[0] * scale), round(SIZE[1] * scale)
    left, top = chance.integers(0, ground.width - width + 1), chance.integers(0, ground.height - height + 1)
    return ground.crop((left, top, left + width, top + height)).resize(SIZE, Image.Resampling.BICUBIC)


def composed(thing: Case, ground: Image.Image, chance: np.random.Generator) -> Case:
    """The object on the ground, a third to nine tenths as high as it."""
    side = round(chance.uniform(0.35, 0.9) * SIZE[1])
    shape = Image.fromarray(thing.truth.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BICUBIC)
    place = (int(chance.integers(0, SIZE[0] - side + 1)), int(chance.integers(0, SIZE[1] - side + 1)))
    ground.paste(thing.picture.resize((side, side), Image.Resampling.BICUBIC), place, shape)
    truth = Image.new("L", SIZE)
    truth.paste(shape, place)
    return Case(ground, np.asarray(truth) > 127)


def measured(cases: list[Case]) -> dict[str, Any]:
    """Scores of each method alone, of their mean, and of the finished masks."""
    scores: dict[str, list[Score]] = {name: [] for name in (*ESTIMATORS, "mean of all")}
    for case in cases:
        pixels = pixels_of(case.picture, PLAIN.side)
        patches = superpixels_of(lab_of(pixels), PLAIN.superpixels)
        values = {name: levelled(method(pixels, patches), patches) for name, method in ESTIMATORS.items()}
        for name, found in (values | {"mean of all": averaged(pixels, patches)}).items():
            scores[name].append(score(thresholded(found, patches), case.truth))
    return {name: mean_of(found) for name, found in scores.items()} | {"finished": finished(cases)}


def thresholded(values: Values, patches: Superpixels) -> Mask:
    """A mask of values as they are."""
    return np.asarray(patches.paint(values) > LEANING * otsu(values, patches.sizes))


def finished(cases: list[Case]) -> dict[str, float]:
    """Scores of the finished masks, and what one takes."""
    begun = time.process_time()
    masks = [estimate(case.picture, PLAIN).mask for case in cases]
    took = 1000 * (time.process_time() - begun) / len(cases)
    return mean_of([score(mask, case.truth) for mask, case in zip(masks, cases)]) | {"milliseconds": took}


def score(mask: Mask, truth: Mask) -> Score:
    """Overlap, share of the object that is kept, share of the background that is removed."""
    both = float((mask & truth).sum())
    return both / float((mask | truth).sum()), both / float(truth.sum()), float((~mask & ~truth).sum() / (~truth).sum())


def mean_of(scores: list[Score]) -> dict[str, float]:
    """Means by name."""
    names = ("overlap", "kept", "removed")
    return {name: float(mean) for name, mean in zip(names, np.mean(scores, axis=0))}


def in_words(report: dict[str, Any]) -> str:
    """The report as tables."""
    line: Callable[[str, dict[str, float]], str] = lambda name, found: "  ".join(  # noqa: E731
        [f"{name:<15}", *(f"{found[key]:>8.3f}" for key in ("overlap", "kept", "removed"))]
        + ([f"{found['milliseconds']:>5.0f} ms a picture"] if "milliseconds" in found else [])
    )
    lines = [f"{'':<15}   overlap      kept   removed"]
    for ground, methods in report.items():
        lines += ["", f"on {ground}", *(line(name, found) for name, found in methods.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
