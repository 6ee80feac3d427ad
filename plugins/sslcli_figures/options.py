"""What one may say about the figures of any backbone."""

from typing import Annotated, Literal

from pydantic import Field

from sslcli.api import FigureOptions, Names, Share

Count = Annotated[int, Field(ge=1)]
Several = Annotated[int, Field(ge=2)]
Side = Annotated[int, Field(ge=0, le=4096)]
Positive = Annotated[float, Field(gt=0.0)]


class AttentionOptions(FigureOptions):
    """Where the CLS token looks in the last block of a vision transformer: a map a head, and where most of it falls.

    sslcli show attention runs/dino-tiny -o attention.png
    sslcli show attention timm:vit_small_patch16_224.dino --data ./photos --size 480 -o attention.png
    """

    pictures: Count = 4  # pictures that are shown
    heads: Count = 6  # heads, at most: those that differ most from the mean of all
    mass: Share = 0.6  # the share of a head's attention whose patches are kept
    size: Side = 0  # pixels a side that the backbone is shown; 0: as its card says


class PcaOptions(FigureOptions):
    """Patch tokens of several pictures in the colours of their first three principal components.

    Alike colours in different pictures are alike tokens. The first component of all patches splits them in two; the
    part that lies in the middle of the pictures is coloured.

    sslcli show pca runs/dino-tiny -o pca.png
    sslcli show pca runs/mine --data ./photos --pictures 5 --no-foreground -o pca.png
    """

    pictures: Count = 6  # pictures that are shown, and whose tokens are taken together
    foreground: bool = True  # colour only the patches on one side of the first component
    size: Side = 0  # pixels a side that the backbone is shown; 0: as its card says


class EmbeddingOptions(FigureOptions):
    """The vectors of pictures on a plane, near each other where the vectors are; coloured by class where there is one.

    sslcli show embedding runs/quickstart -o embedding.png
    sslcli show embedding runs/mine --data ./labelled --classes cat,dog,horse -o embedding.svg
    """

    method: Literal["tsne", "umap", "pca"] = "tsne"  # umap needs the package umap-learn
    points: Several = 1000  # pictures, at most, evenly spread
    perplexity: Positive = 30.0  # of t-SNE: about how many neighbours count; a third of the points at most
    neighbours: Several = 15  # of UMAP
    classes: Names = ()  # these alone; all when left out


class NeighboursOptions(FigureOptions):
    """Pictures, and the training pictures whose vectors lie nearest by cosine: right and wrong classes are framed.

    sslcli show neighbours runs/quickstart -o neighbours.png
    sslcli show neighbours runs/mine --data ./photos --pictures 8 --k 7 -o neighbours.png
    """

    pictures: Count = 6  # pictures whose neighbours are shown
    k: Count = 5  # neighbours of each


class NeighbourMatrixOptions(FigureOptions):
    """Which classes the k nearest neighbours of each class are of, among the pictures that are tested.

    sslcli show neighbour-matrix runs/quickstart -o matrix.png
    sslcli show neighbour-matrix runs/mine --classes beagle,collie,tabby,siamese --grid pictures -o matrix.png
    """

    k: Count = 5  # neighbours of each picture, itself left out
    classes: Names = ()  # these alone, in this order; all when left out
    grid: Literal["classes", "pictures"] = "classes"  # pictures: a row and a column for each picture
    per_class: Several = 50  # pictures of each class, at most
    distance: Literal["euclidean", "cosine"] = "euclidean"  # cosine: euclidean between vectors of unit length


class SpreadOptions(FigureOptions):
    """What the two figures have that compare distances between classes with those inside them."""

    against: str = ""  # another RUN that is drawn beside, such as random:runs/mine
    per_class: Several = 50  # pictures of each class, at most
    unit: bool = False  # vectors of unit length


class ClassDistancesOptions(SpreadOptions):
    """For each class, how far its pictures are from those of other classes, by how far they are from each other.

    sslcli show class-distances runs/quickstart --against random:runs/quickstart -o distances.png
    """


class DiscriminantRatioOptions(SpreadOptions):
    """For each two classes, how far their means are apart, by how far the pictures of the first are from each other.

    sslcli show discriminant-ratio runs/quickstart --against pixels -o ratio.png
    """


class CurvesOptions(FigureOptions):
    """What a run noted while it was trained: losses, learning rate, health and probe accuracy.

    sslcli show curves runs/quickstart -o curves.svg
    """

    panels: Count = 12  # curves, at most
    points: Several = 300  # of each curve; more are averaged
