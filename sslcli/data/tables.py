"""Pictures in the rows of a table of `datasets`: parquet, saved sets, WebDataset shards, the Hub."""

from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
from datasets import ClassLabel, Dataset
from datasets import Image as ImageFeature
from numpy.typing import NDArray
from PIL import Image

from sslcli.data.columns import Column, label_column, picture_column
from sslcli.data.pictures import BrokenPicture, decode_picture, read_picture
from sslcli.words import counted

Labelling = tuple[tuple[str, ...], NDArray[np.int64]]


class TableSource:
    """The pictures of a table, decoded by us; the table stays on disk, mapped into memory by `datasets`."""

    by_row = True

    def __init__(self, spec: str, table: Dataset, fingerprint: str, *, max_megapixels: float) -> None:
        self.spec = spec
        self.table = table
        self.fingerprint = fingerprint
        self.max_megapixels = max_megapixels
        self.column = picture_column(table.features, spec)
        self.rows = encoded(table.select_columns([self.column]), self.column)
        self.said = f"{spec}: {counted(len(table), 'picture')} in the column '{self.column}'"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the column's type, or sorted; empty without labels."""
        return self.labelling[0]

    @cached_property
    def labelling(self) -> Labelling:
        """Class names, and the class of each row; read only when somebody asks."""
        column = label_column(self.table.features, self.spec)
        return labelling(self.table, column) if column else ((), np.empty(0, np.int64))

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "labelling"}

    def __len__(self) -> int:
        return len(self.table)

    def image(self, index: int) -> Image.Image:
        """One picture, upright and RGB. Raises BrokenPicture."""
        row = self.rows[int(index)][self.column]
        fields = row if isinstance(row, dict) else {"bytes": row}
        data, path = fields.get("bytes"), fields.get("path")
        if data is not None:
            return decode_picture(data, self.name(index), max_megapixels=self.max_megapixels)
        if path is None:
            raise BrokenPicture(self.name(index), "the row holds no picture")
        return read_picture(path, max_megapixels=self.max_megapixels)

    def name(self, index: int) -> str:
        """The row of a picture, counted from 0."""
        return f"{self.spec} row {int(index)}"

    def key(self, index: int) -> str:
        """The row of a picture, ten thousand below one name, as folders like it."""
        return f"{int(index) // 10_000:06d}/{int(index):08d}"

    def labels(self) -> NDArray[np.int64] | None:
        """The class of each row, `[N]`, -1 where it has none; None when there are no labels at all."""
        classes, labels = self.labelling
        return labels if classes and (labels >= 0).any() else None


def encoded(rows: Dataset, column: str) -> Dataset:
    """Rows that give a picture as it lies in the file, and leave the decoding to us."""
    if isinstance(rows.features[column], ImageFeature):
        return rows.cast_column(column, ImageFeature(decode=False))
    return rows


def labelling(table: Dataset, column: Column) -> Labelling:
    """Class names and the class of each row, of a column or of a field in it."""
    values = table.select_columns([column[0]]).with_format("arrow")[:].column(0)
    feature: Any = table.features[column[0]]
    for field in column[1:]:
        values, feature = compute.struct_field(values, field), feature[field]
    if isinstance(feature, ClassLabel):
        return tuple(feature.names), filled(values)
    return by_value(values)


def by_value(values: pa.ChunkedArray) -> Labelling:
    """Classes of a column that has no class names: its values, sorted."""
    known = compute.unique(values).drop_null()
    known = known.take(compute.sort_indices(known))
    return tuple(str(value) for value in known.to_pylist()), filled(compute.index_in(values, known))


def filled(codes: pa.ChunkedArray) -> NDArray[np.int64]:
    """Class numbers with -1 for rows that have none."""
    numbers = np.asarray(compute.fill_null(codes.cast(pa.int64()), -1).to_numpy())
    return np.asarray(np.maximum(numbers, -1), dtype=np.int64)
