"""The contact sheet of clusters: which pictures are nearest, and where they stand."""

import torch
from PIL import Image
from sslcli_moce.sheet import GAP, MARGIN, SIDE, contact_sheet, foremost, shown


def test_the_nearest_of_each_cluster_are_found_among_its_own_whatever_the_blocks():
    features = torch.nn.functional.normalize(torch.randn(90, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    centroids, ids = features[:3], torch.arange(90) % 3
    cosines = features @ centroids.T
    for size in (1, 7, 90):
        found = foremost(features.split(size), centroids, ids, [2, 0], 4)
        for row, cluster in zip(found, (2, 0)):
            own = (ids == cluster).nonzero().flatten().tolist()
            assert row.tolist() == sorted(own, key=lambda number: -cosines[number, cluster])[:4]


def test_a_cluster_of_few_pictures_shows_these():
    features = torch.eye(4)
    assert foremost([features], features[:2], torch.tensor([0, 1, 1, -1]), [0, 1], 3).tolist() == [
        [0, -1, -1],
        [1, 2, -1],
    ]


def test_clusters_are_chosen_evenly_and_never_empty_ones():
    sizes = torch.tensor([1, 0, 2, 2, 0, 3, 1, 1])
    assert shown(sizes, 3) == [0, 3, 6]
    assert shown(sizes) == [0, 2, 3, 5, 6, 7]
    assert shown(torch.zeros(3)) == []


def test_a_row_has_its_caption_and_then_its_pictures():
    red, blue = (Image.new("RGB", (10, 10), colour) for colour in ("red", "blue"))
    sheet = contact_sheet(["cluster 3\n2 pictures", "cluster 5\n1 pictures"], [[red, blue], [blue]])
    cell = SIDE + GAP
    assert sheet.size == (MARGIN + 2 * cell + GAP, 2 * cell + GAP)
    assert sheet.getpixel((MARGIN + cell + SIDE // 2, SIDE // 2)) == (0, 0, 255)
    assert sheet.getpixel((MARGIN + SIDE // 2, cell + SIDE // 2)) == (0, 0, 255)
    assert len(sheet.crop((0, 0, MARGIN, cell)).getcolors()) > 1
