"""The crops of Mugs written straight, as transforms of torchvision on Pillow pictures: what loader.py measures against.

The recipe is read off a specification, not copied: weak is DINO's jitter, grey, blur and solarise; strong is a flip and
RandAugment on the whole picture, then the crop, then erasing on the tensor before it is normalised.
"""

import random

import torch
from PIL import Image, ImageFilter
from timm.data.auto_augment import rand_augment_transform
from torchvision import transforms
from torchvision.transforms import InterpolationMode

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILL = (124, 116, 104)


class Blur:
    """Pillow's blur, with a radius from 0.1 to 2 pixels."""

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def crop(size: int, scale: tuple[float, float]) -> transforms.RandomResizedCrop:
    """A resized crop, bicubic."""
    return transforms.RandomResizedCrop(size, scale=scale, interpolation=InterpolationMode.BICUBIC)


def weak(size: int, scale: tuple[float, float], blur: float, solarise: float) -> transforms.Compose:
    """DINO's pipeline."""
    return transforms.Compose(
        [
            crop(size, scale),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([Blur()], p=blur),
            transforms.RandomSolarize(128, p=solarise),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def strong(size: int, scale: tuple[float, float], rand_augment: str) -> transforms.Compose:
    """RandAugment on the whole picture, then the crop, then erasing."""
    augment = transforms.RandAugment(2, 9, fill=list(FILL))
    if rand_augment == "timm":
        augment = rand_augment_transform("rand-m9-mstd0.5-inc1", {"img_mean": FILL, "translate_pct": 0.45})
    return transforms.Compose(
        [
            transforms.RandomHorizontalFlip(),
            augment,
            crop(size, scale),
            transforms.ToTensor(),
            transforms.RandomErasing(0.25, (0.02, 0.333), (0.3, 3.33), value="random"),
            transforms.Normalize(MEAN, STD),
        ]
    )


class MugsTransform:
    """A picture to its 14 crops."""

    def __init__(self, rand_augment: str, locals: int = 10) -> None:
        large, small = (224, (0.25, 1.0)), (96, (0.05, 0.25))
        self.weak = (weak(*large, 1.0, 0.0), weak(*large, 0.1, 0.2))
        self.strong = strong(*large, rand_augment)
        self.local = (weak(*small, 0.5, 0.0), strong(*small, rand_augment))
        self.locals = locals

    def __call__(self, image: Image.Image) -> list[torch.Tensor]:
        """Two weak crops, two by one coin, the local ones by a coin each."""
        pair = (self.strong, self.strong) if random.random() < 0.5 else self.weak
        chosen = [*self.weak, *pair, *(random.choice(self.local) for _ in range(self.locals))]
        return [transform(image) for transform in chosen]
