"""From a picture to the mask of its object, by several hand-made methods together or by the map of a backbone.

picture, made small -> superpixels -> five values each, averaged -> cut in two -> edges, pieces and holes tended to
                       or, on a plain ground -> all that is not ground
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sslcli.data.masks import Mask, usable
from sslcli_saliency.absorption import absorbed_time
from sslcli_saliency.background import robust_background
from sslcli_saliency.colour import lab_of
from sslcli_saliency.cutting import object_patches
from sslcli_saliency.geodesic import geodesic_saliency
from sslcli_saliency.maps import Map, Picture, Values, otsu, resized, stretched
from sslcli_saliency.plain import object_on_plain_ground
from sslcli_saliency.reconstruction import reconstruction_error
from sslcli_saliency.refinement import refined, widened
from sslcli_saliency.spectral import spectral_residual
from sslcli_saliency.superpixels import Superpixels, superpixels_of

BRIGHT = 0.95  # the share of the picture that lies below what counts as 1 in a map: else one bright spot rules it
LEANING = 0.8  # of Otsu's threshold: to keep some background does less harm than to lose some of the object

ESTIMATORS: dict[str, Callable[[Picture, Superpixels], Values]] = {
    "background": lambda picture, patches: robust_background(patches),
    "absorption": lambda picture, patches: absorbed_time(patches),
    "geodesic": lambda picture, patches: geodesic_saliency(patches),
    "reconstruction": lambda picture, patches: reconstruction_error(patches),
    "spectral": lambda picture, patches: patches.average(spectral_residual(picture)),
}


@dataclass(frozen=True)
class Settings:
    """What a user may change of how masks are made."""

    side: int = 256  # pixels, at most, of a mask's shorter side
    superpixels: int = 250
    threshold: float | None = None  # of the map, from 0 to 1; None: each picture its own
    dilation: float = 0.015  # by which a mask is widened, of its shorter side


@dataclass(frozen=True)
class Estimate:
    """What was found in a picture, made small."""

    picture: Picture  # [h, w, 3]
    map: Map  # [h, w]
    mask: Mask  # [h, w], true on the object


def estimate(picture: Image.Image, settings: Settings, coarse: Map | None = None) -> Estimate:
    """The object of an RGB picture; `coarse`, a map of it in any size, stands in the place of the hand-made ones."""
    small = pixels_of(picture, settings.side)
    lab = lab_of(small)
    plain = object_on_plain_ground(lab) if coarse is None else None
    if plain is not None and usable(plain):
        return Estimate(small, plain.astype(np.float32), widened(plain, round(settings.dilation * min(plain.shape))))
    patches = superpixels_of(lab, settings.superpixels)
    values = averaged(small, patches) if coarse is None else spread(coarse, patches)
    threshold = LEANING * otsu(values, patches.sizes) if settings.threshold is None else settings.threshold
    mask = patches.paint(object_patches(patches, values, threshold).astype(np.float64))
    return Estimate(small, patches.paint(values), refined(mask, small, dilation=settings.dilation))


def pixels_of(picture: Image.Image, side: int) -> Picture:
    """A picture whose shorter side has at most `side` pixels, and which is never enlarged."""
    scale = min(1.0, side / min(picture.size))
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    small = picture if size == picture.size else picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(small, np.float32) / np.float32(255.0)


def averaged(picture: Picture, patches: Superpixels) -> Values:
    """The mean of the methods, from 0 to 1, `[N]`."""
    return stretched(np.sum([levelled(method(picture, patches), patches) for method in ESTIMATORS.values()], axis=0))


def spread(coarse: Map, patches: Superpixels) -> Values:
    """A coarse map on the superpixels, from 0 to 1, `[N]`."""
    height, width = patches.labels.shape
    return levelled(patches.average(resized(stretched(coarse), (height, width))), patches)


def levelled(values: Values, patches: Superpixels) -> Values:
    """Values from 0 to 1, where the brightest twentieth of the picture is 1."""
    above = values - values.min()
    order = np.argsort(above, kind="stable")
    reached = np.searchsorted(np.cumsum(patches.sizes[order]), BRIGHT * patches.sizes.sum())
    bright = float(above[order[min(int(reached), len(order) - 1)]])
    return stretched(np.minimum(above, bright)) if bright > 1e-12 else stretched(above)
