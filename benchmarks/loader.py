"""How many images a second one core prepares, against lightly's DINOTransform on the same pictures.

    python benchmarks/loader.py [--pictures 24] [--rounds 3] [--json]        (needs `pip install lightly`)

Pictures are JPEGs of 500x375 pixels, quality 90, with the statistics of photographs (noise whose power falls with the
square of the frequency, and shapes), from a fixed seed. Both sides decode each from bytes and make DINO's two crops of
224 and ten of 96 pixels, with jitter, grey, blur and solarise at DINO's probabilities, on one thread.

`worker` is what our loader worker does (decode, draw, cut, collate as uint8; the photometric part runs on the device);
`cpu` adds the photometric part on the same core, up to normalised float images. The rounds of the three alternate, and
the best round of each counts, so that other work on the machine disturbs all alike. Time is CPU time of the process.
"""

import argparse
import json
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from lightly.transforms import DINOTransform
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sslcli.api import Context, ViewShape
from sslcli.data.batch import Batch
from sslcli.data.pictures import decode_picture
from sslcli.data.views import ViewReader
from sslcli.plugins import load_registry, resolve

MULTICROP = load_registry().find("augmentation", "multicrop")
WIDTH, HEIGHT, QUALITY = 500, 375, 90
JITTER = {"probability": 0.8, "brightness": 0.8, "contrast": 0.8, "saturation": 0.4, "hue": 0.2}  # lightly's defaults
GROUPS = {
    "global": {"crops": 2, "size": 224, "scale": [0.4, 1.0], "blur": [1.0, 0.1], "solarise": [0.0, 0.2]},
    "local": {"crops": 10, "size": 96, "scale": [0.05, 0.4], "blur": 0.5},
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

    def __init__(self, files: list[bytes]) -> None:
        tables = {
            name: MULTICROP.options.model_validate({**table, "jitter": JITTER, "grey": 0.2})
            for name, table in GROUPS.items()
        }
        self.views = {name: resolve(MULTICROP.code)(options, Context()) for name, options in tables.items()}
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


class Lightly:
    """lightly's transform of the same crops."""

    def __init__(self, files: list[bytes]) -> None:
        self.files = files
        self.transform = DINOTransform(n_local_views=10)

    def __call__(self) -> list[list[torch.Tensor]]:
        """All pictures to normalised float images."""
        return [self.transform(Image.open(BytesIO(file)).convert("RGB")) for file in self.files]


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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    files = [photograph(rng) for _ in range(options.pictures)]
    ours = Ours(files)
    sides = {"worker": ours.worker, "cpu": ours.cpu, "lightly": Lightly(files)}
    speed = images_per_second(sides, options.pictures, options.rounds)
    ratios = {f"{name}_over_lightly": speed[name] / speed["lightly"] for name in ("worker", "cpu")}
    kilobytes = sum(map(len, files)) / len(files) / 1000
    if options.json:
        print(json.dumps({"images_per_second_and_core": speed, **ratios, "kilobytes_a_picture": kilobytes}))
        return
    print(
        f"{options.pictures} JPEGs of {WIDTH}x{HEIGHT}, {kilobytes:.0f} kB each; 2 crops of 224 and 10 of 96; one core"
    )
    for name, value in speed.items():
        ratio = "" if name == "lightly" else f"   {value / speed['lightly']:.1f} times lightly"
        print(f"{name:8} {value:7.1f} images/s  {1000 / value:6.2f} ms an image{ratio}")


if __name__ == "__main__":
    main()
