"""What one may say about the judgement by corrupted pictures."""

from typing import Annotated, Literal

from pydantic import Field

from sslcli.api import EvaluationOptions, Names

Severity = Annotated[int, Field(ge=1, le=5)]
SEVERITIES = (1, 2, 3, 4, 5)
Severities = Annotated[tuple[Severity, ...], Field(strict=False)]


class RobustOptions(EvaluationOptions):
    """Classes are learnt from clean pictures; the test pictures are corrupted in fifteen ways, from mild to heavy.

    The corruptions are gaussian_noise, shot_noise, impulse_noise, defocus_blur, glass_blur, motion_blur, zoom_blur,
    snow, frost, fog, brightness, contrast, elastic, pixelate and jpeg, drawn anew from the test pictures in the manner
    of ImageNet-C and scaled to the size at which the backbone sees them.

    sslcli eval robust runs/quickstart --baselines
    sslcli eval robust runs/mine --data ./labelled --corruptions fog,snow --severities 1,3,5
    sslcli eval robust runs/mine --data demo --method linear --json
    """

    corruptions: Names = ()  # which ones, such as fog,snow; all when left out
    severities: Severities = SEVERITIES  # of each corruption, from 1 to 5
    method: Literal["knn", "linear"] = "knn"  # how classes are learnt: a vote of neighbours, or logistic regression
    k: Annotated[int, Field(ge=1)] = 20  # neighbours that vote
    temperature: Annotated[float, Field(gt=0.0)] = 0.07  # a neighbour's vote weighs exp(cosine / temperature)
