"""What one may say about the health of features."""

from typing import Annotated

from pydantic import AfterValidator, Field

from sslcli.api import EvaluationOptions


def not_one(count: int) -> int:
    """Refuse a single picture: views are held against those of another."""
    if count == 1:
        raise ValueError("must be 0, or at least 2")
    return count


NoneOrSeveral = Annotated[int, Field(ge=0), AfterValidator(not_one)]


class HealthOptions(EvaluationOptions):
    """How well the features are, without labels: over how many directions they vary, how evenly, how views agree.

    The pictures are those that the run was trained on, unless --data names others. Labels are never read.

    sslcli eval health runs/mine --baselines
    sslcli eval health runs/mine --data ./photos --json
    sslcli eval health runs/mine/checkpoints/step-00000400 --pictures 1000 --view-pictures 0
    """

    pictures: Annotated[int, Field(ge=8)] = 4096  # pictures that are looked at, at most, evenly spread over the set
    view_pictures: NoneOrSeveral = 256  # pictures also seen as augmented views; 0 leaves views out
    views: Annotated[int, Field(ge=2)] = 8  # views of each of those pictures
    clusters: Annotated[int, Field(ge=2)] = 64  # clusters of k-means, to be learnt by neighbours; fewer in small sets
