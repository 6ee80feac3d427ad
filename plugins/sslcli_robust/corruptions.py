"""The corruptions by name: a picture and a severity from 1 to 5 to the corrupted picture, by chances that are given."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sslcli.errors import UserError, did_you_mean
from sslcli_robust.blurs import defocus_blur, glass_blur, motion_blur, zoom_blur
from sslcli_robust.digital import contrast, elastic, jpeg, pixelate
from sslcli_robust.noise import gaussian_noise, impulse_noise, shot_noise
from sslcli_robust.scaling import Chance, Pixels
from sslcli_robust.weather import brightness, fog, frost, snow

VERSION = 1  # of the pictures that are made: features of other versions are not used again

CORRUPTIONS: Mapping[str, Callable[[Pixels, int, Chance], Pixels]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic": elastic,
    "pixelate": pixelate,
    "jpeg": jpeg,
}


def corrupt(picture: NDArray[np.uint8], name: str, severity: int, chance: Chance) -> NDArray[np.uint8]:
    """A picture uint8 `[H, W, 3]` under one corruption."""
    corrupted = CORRUPTIONS[name](picture / 255.0, severity, chance)
    return np.rint(np.clip(corrupted, 0.0, 1.0) * 255).astype(np.uint8)


def chosen(names: Sequence[str]) -> list[str]:
    """The corruptions that were named, each once and in our order, or all. Raises UserError."""
    for name in names:
        if name not in CORRUPTIONS:
            raise UserError(f"no corruption is called '{name}'", did_you_mean(name, CORRUPTIONS))
    return [name for name in CORRUPTIONS if name in names or not names]
