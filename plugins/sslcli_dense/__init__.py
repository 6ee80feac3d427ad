"""What the single patches of a frozen backbone know: classes of pixels, and objects followed through a video."""

from sslcli.api import Evaluation, Offers, hookimpl
from sslcli_dense.options import SegmentOptions, VideoOptions


@hookimpl
def sslcli_evaluations() -> Offers:
    """`segment` and `video`."""
    yield Evaluation(
        "segment",
        SegmentOptions,
        "sslcli_dense.evaluations.segment:judge",
        summary="a linear head on frozen patch tokens tells the class of every pixel",
        paper="arXiv:2304.07193",
        needs="tokens",
    )
    yield Evaluation(
        "video",
        VideoOptions,
        "sslcli_dense.evaluations.video:judge",
        summary="objects marked in the first frame of a video are followed by the likeness of patches",
        paper="arXiv:2104.14294",
        needs="tokens",
    )
