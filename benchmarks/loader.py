"""How many images a second one core prepares, against other ways to make the same crops of the same pictures.

    python benchmarks/loader.py [--set dino|mugs] [--pictures 24] [--rounds 3] [--json]

Pictures are JPEGs of 500x375 pixels, quality 90, with the statistics of photographs (noise whose power falls with the
square of the frequency, and shapes), from a fixed seed. All sides decode each from bytes, on one thread.

`--set dino`: two crops of 224 and ten of 96 pixels, with jitter, grey, blur and solarise at DINO's probabilities. The
rival is lightly's DINOTransform (`pip install lightly`).

`--set mugs`: two weak crops of 224 pixels, two more that are weak or strong by one coin, ten of 96 by a coin each.
Strong is RandAugment on the whole picture, then the crop, then erasing. The rivals are the same recipe as transforms of
torchvision on Pillow pictures: `timm` with timm's `rand-m9-mstd0.5-inc1`, the operations of the recipe; `torchvision`
with torchvision's RandAugment (two operations of magnitude 9, always applied, nearest pixels).

`worker` is what our loader worker does (decode, draw, cut, collate as uint8; the photometric part runs on the device);
`cpu` adds the photometric part on the same core, up to normalised float images. The rounds of all sides alternate, and
the best round of each counts, so that other work on the machine disturbs all alike. Time is CPU time of the process.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from straight import MugsTransform

from sslcli.api import Context, ViewShape
from sslcli.data.batch import Batch
from sslcli.data.pictures import decode_picture
from sslcli.data.views import ViewReader
from sslcli.plugins import load_registry, resolve

REGISTRY = load_registry()
WIDTH, HEIGHT, QUALITY = 500, 375, 90
JITTER = {"probability": 0.8, "brightness": 0.8, "contrast": 0.8, "saturation": 0.4, "hue": 0.2}  # lightly's defaults
COLOURS = {"jitter": JITTER, "grey": 0.2}
DINO = {
    "global": {"crops": 2, "size": 224, "scale": [0.4, 1.0], **COLOURS, "blur": [1.0, 0.1], "solarise": [0.0, 0.2]},
    "local": {"crops": 10, "size": 96, "scale": [0.05, 0.4], **COLOURS, "blur": 0.5},
}
WEAK = {"jitter": {"probability": 0.8, "saturation": 0.2}, "grey": 0.2, "blur": [1.0, 0.1], "solarise": [0.0, 0.2]}
LOCAL = {**WEAK, "blur": 0.5, "solarise": 0.0}
STRONG = {"rand_augment": 1.0, "erase": {"area": [0.02, 0.333], "ratio": [0.3, 3.33], "before_normalise": True}}
LARGE, SMALL = {"size": 224, "scale": [0.25, 1.0]}, {"size": 96, "scale": [0.05, 0.25]}
MUGS = {
    "teacher": {"crops": 2, **LARGE, **WEAK},
    "global": {"crops": 2, **LARGE, "coin": "sample", "column": "weak", "weak": WEAK, "strong": STRONG},
    "local": {"crops": 10, **SMALL, "coin": "crop", "weak": LOCAL, "strong": STRONG},
}


def photograph(rng: np.random.Generator) -> bytes:
    """A JPEG with the spectrum of a photograph, channels that mostly agree, and a few sharp edges."""
    light = natural_noise(rng)
    channels = [np.clip(128 + 50 * (light + 0.3 * natural_noise(rng)), 0, 255) for _ in range(3)]
    image = Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))
    draw_shapes(ImageDraw.Draw(image), rng)
    file = BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def natural_noise(rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise `[H, W]` whose amplitude falls with the frequency, of deviation 1."""
    rows, columns = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None, :]
    amplitude = 1.0 / np.maximum(np.hypot(rows, columns), 1.0 / WIDTH)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((HEIGHT, WIDTH))) * amplitude, s=(HEIGHT, WIDTH))
    return noise / noise.std()


def draw_shapes(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Six ellipses and boxes of plain colours."""
    for number in range(6):
        left, top = rng.integers(0, WIDTH - 40), rng.integers(0, HEIGHT - 40)
        box = (left, top, left + rng.integers(20, 160), top + rng.integers(20, 120))
        colour = tuple(rng.integers(0, 256, 3).tolist())
        (draw.ellipse if number % 2 else draw.rectangle)([int(side) for side in box], fill=colour)


class Pictures:
    """JPEGs in memory as a source of the loader."""

    def __init__(self, files: list[bytes]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int) -> Image.Image:
        return decode_picture(self.files[index], str(index))


class Ours:
    """sslcli's loader worker, and its photometric part."""

    def __init__(self, files: list[bytes], groups: dict[str, dict[str, Any]]) -> None:
        offers = {name: offer_for(table) for name, table in groups.items()}
        tables = {name: offer.options.model_validate(groups[name]) for name, offer in offers.items()}
        self.views = {name: resolve(offer.code)(tables[name], Context()) for name, offer in offers.items()}
        shapes = {name: ViewShape(options.crops, options.size) for name, options in tables.items()}
        self.reader = ViewReader(Pictures(files), self.views, shapes, seed=0)
        self.positions = [(0, index) for index in range(len(files))]

    def worker(self) -> Batch:
        """All pictures to uint8 crops."""
        return self.reader.read(self.positions)

    def cpu(self) -> list[torch.Tensor]:
        """All pictures to normalised float images."""
        batch = self.worker()
        finished = []
        for name, view in self.views.items():
            draws = {key: drawn.flatten(0, 1) for key, drawn in batch.draws[name].items()}
            finished.append(view.finish(batch.crops[name].flatten(0, 1), draws))
        return finished


def offer_for(table: dict[str, Any]) -> Any:
    """The augmentation that a group needs: of one pipeline or of two."""
    return REGISTRY.find("augmentation", "weak_strong" if "weak" in table else "multicrop")


class Rival:
    """Another way to the same crops."""

    def __init__(self, files: list[bytes], transform: Callable[[Image.Image], list[torch.Tensor]]) -> None:
        self.files, self.transform = files, transform

    def __call__(self) -> list[list[torch.Tensor]]:
        """All pictures to normalised float images."""
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        return [self.transform(Image.open(BytesIO(file)).convert("RGB")) for file in self.files]


def rivals(which: str, files: list[bytes]) -> dict[str, Rival]:
    """The other ways to a set of crops."""
    if which == "mugs":
        return {name: Rival(files, MugsTransform(name)) for name in ("timm", "torchvision")}
    from lightly.transforms import DINOTransform

    return {"lightly": Rival(files, DINOTransform(n_local_views=10))}


def images_per_second(sides: dict[str, Callable[[], object]], images: int, rounds: int) -> dict[str, float]:
    """The best round of each side, after one that does not count."""
    best = dict.fromkeys(sides, float("inf"))
    for number in range(rounds + 1):
        for name, side in sides.items():
            began = time.process_time()
            side()
            if number:
                best[name] = min(best[name], time.process_time() - began)
    return {name: images / seconds for name, seconds in best.items()}


def show(speed: dict[str, float], others: list[str]) -> None:
    """A line for each side."""
    for name, value in speed.items():
        ratios = [] if name in others else [f"{value / speed[other]:.1f} times {other}" for other in others]
        print(f"{name:12}{value:7.1f} images/s  {1000 / value:6.2f} ms an image   {', '.join(ratios)}".rstrip())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("dino", "mugs"), default="dino")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    files = [photograph(rng) for _ in range(options.pictures)]
    groups = MUGS if options.set == "mugs" else DINO
    ours, others = Ours(files, groups), rivals(options.set, files)
    speed = images_per_second({"worker": ours.worker, "cpu": ours.cpu, **others}, options.pictures, options.rounds)
    ratios = {f"{name}_over_{other}": speed[name] / speed[other] for name in ("worker", "cpu") for other in others}
    kilobytes = sum(map(len, files)) / len(files) / 1000
    if options.json:
        print(json.dumps({"images_per_second_and_core": speed, **ratios, "kilobytes_a_picture": kilobytes}))
        return
    crops = ", ".join(f"{table['crops']} of {table['size']}" for table in groups.values())
    print(f"{options.pictures} JPEGs of {WIDTH}x{HEIGHT}, {kilobytes:.0f} kB each; crops: {crops}; one core")
    show(speed, list(others))


if __name__ == "__main__":
    main()
