"""Spectral residual: what a picture's spectrum has beyond the smooth fall-off of all pictures' spectra.

Hou & Zhang, Saliency Detection: A Spectral Residual Approach, CVPR 2007.
"""

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter, uniform_filter

from sslcli_saliency.maps import Map, Picture, Values, resized, stretched

SIDE = 64  # pixels; the scale at which the authors found objects, and not their edges
SPREAD = 2.5  # pixels, of the blur at the end (the authors' 8, at twice as many)


def spectral_residual(picture: Picture) -> Map:
    """The map of a picture `[H, W, 3]`, `[H, W]`: the mean over the colours."""
    height, width = picture.shape[:2]
    channels = [resized(picture[..., channel], (SIDE, SIDE)) for channel in range(3)]
    found = np.sum([residual(channel) for channel in channels], axis=0)
    return resized(stretched(gaussian_filter(found, SPREAD)), (height, width))


def residual(channel: Map) -> Values:
    """`|F⁻¹(exp(log A - mean₃ₓ₃(log A) + iP))|²` of one channel, amplitude A and phase P: eq. 5 to 7."""
    spectrum = fft.fft2(channel.astype(np.float64))
    logarithm = np.log(np.abs(spectrum) + 1e-8)
    smooth = uniform_filter(logarithm, 3, mode="wrap")
    back = fft.ifft2(np.exp(logarithm - smooth + 1j * np.angle(spectrum)))
    squared: Values = np.abs(back) ** 2
    return squared
