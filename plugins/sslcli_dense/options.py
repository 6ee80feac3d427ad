"""What one may say about the judgements by patches."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sslcli.api import EvaluationOptions

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[int, Field(ge=0)]


class SegmentOptions(EvaluationOptions):
    """A linear head on frozen patch tokens learns the class of every pixel; judged by mean IoU.

    DATA is a folder with images/ and labels/: to images/dir/a.jpg belongs labels/dir/a.png, a PNG of class numbers
    and of the picture's size. Divided sets have images/train and images/val, or else a fifth is held out.
    classes.txt may name the classes, one a line.

    sslcli eval segment runs/mine --data ./scenes --baselines
    sslcli eval segment runs/mine --data ./scenes --image-size 448 --layers 4
    sslcli eval segment runs/mine --data ./scenes --classes 21 --epochs 50 --json
    """

    image_size: NotNegative = 0  # pixels a side that pictures are resized to; 0 as the backbone's card says
    layers: Literal[1, 4] = 1  # how many last blocks the tokens are taken from
    classes: NotNegative = 0  # how many there are; 0 as many as the training labels name
    ignore: Annotated[int, Field(ge=0, le=65535)] = 255  # the number of pixels that count for nothing
    lr: Positive = 0.01  # learning rate at the start; it falls to 0 by a cosine
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0001
    epochs: Count = 30  # passes over the training pictures
    batch: Count = 16  # pictures of a step

    @classmethod
    def trial_data(cls, folder: Path) -> str:
        """Small pictures with labels, for checks."""
        from sslcli_dense.example import write_scenes

        return str(write_scenes(folder / "scenes"))


class VideoOptions(EvaluationOptions):
    """The objects of a video's first frame are followed by the likeness of patches, and judged frame by frame.

    DATA is DAVIS (JPEGImages/480p, Annotations/480p, ImageSets/2017), or any folder with frames/NAME/*.jpg and
    labels/NAME/*.png, where a label is a PNG of object numbers, 0 for the background. Nothing is trained.

    sslcli eval video runs/mine --data ./DAVIS --baselines
    sslcli eval video runs/mine --data ./DAVIS --split val --image-size 480
    sslcli eval video runs/mine --data ./clips --last-frames 4 --radius 6 --json
    """

    split: str = ""  # the list of ImageSets/2017 to judge on; val where there is one, else all videos
    image_size: NotNegative = 0  # the shorter side that frames are resized to, in pixels; 0 leaves them as they are
    last_frames: NotNegative = 7  # that labels are taken from, besides the first frame
    radius: NotNegative = 12  # patches that an object may have moved, down or across; 0 for any distance
    topk: Count = 5  # most alike patches whose labels are mixed
    temperature: Positive = 0.1  # a patch weighs exp(cosine / temperature)
    last: bool = False  # judge the last frame too, which DAVIS leaves out

    @classmethod
    def trial_data(cls, folder: Path) -> str:
        """Small videos with labels, for checks."""
        from sslcli_dense.example import write_clips

        return str(write_clips(folder / "clips"))
