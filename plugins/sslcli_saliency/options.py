"""The options of `saliency_crop`."""

from typing import Literal

from sslcli.data.settings import Chances, Cropping, PerCrop, Treatment


class SaliencyCropOptions(Treatment, Cropping):
    """Crops as `multicrop` cuts them; before some of them are cut, the picture loses its background."""

    mask_probability: PerCrop[Chances] = (0.1,)  # that a crop shows the object alone; each crop has a coin of its own
    background: Literal["black", "mean", "grey"] = "black"  # fill: black, data.mean, or a grey drawn for each crop

    def reads_masks(self) -> bool:
        """Wherever a crop can lose its background."""
        return any(self.mask_probability)
