"""What one may say about the figure of PatchMix."""

from typing import Annotated

from pydantic import Field

from sslcli.api import FigureOptions, Names


class SimilarityFigureOptions(FigureOptions):
    """How alike a picture is to nine others: of its own class, of two classes that resemble it, of any others.

    sslcli show similarity runs/patchmix-tiny -o similarity.png
    sslcli show similarity runs/patchmix-tiny --classes bird --similar bug,mammal -o similarity.png
    """

    pictures: Annotated[int, Field(ge=1)] = 3  # pictures that are asked for, each of another class
    classes: Names = ()  # of the pictures that are asked for; evenly spread ones when left out
    similar: Names = ()  # classes that resemble them; when left out the two whose mean picture is nearest
    against: str = ""  # another RUN whose similarities are drawn beside, such as random:runs/mine
