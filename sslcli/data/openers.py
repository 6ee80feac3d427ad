"""What `datasets` reads: parquet, WebDataset shards, sets that it saved, the Hub; and the demo set of the package."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import datasets
from datasets.exceptions import DatasetNotFoundError

from sslcli.data.files import by_split, files_of
from sslcli.data.fingerprint import fingerprint_of_files
from sslcli.data.source import Splits
from sslcli.data.splits import WHOLE
from sslcli.data.tables import TableSource
from sslcli.disk import expand
from sslcli.errors import UserError

DEMO = Path(__file__).parent / "demo"


def parquet_splits(pattern: str, spec: str, *, max_megapixels: float) -> Splits:
    """`parquet:GLOB`: parquet files, in splits when their names tell so."""
    return file_splits("parquet", pattern, spec, max_megapixels)


def webdataset_splits(pattern: str, spec: str, *, max_megapixels: float) -> Splits:
    """`wds:GLOB`: tar shards of WebDataset, in splits when their names tell so."""
    return file_splits("webdataset", pattern, spec, max_megapixels)


def file_splits(builder: str, pattern: str, spec: str, max_megapixels: float) -> Splits:
    """The splits of the files that a pattern names, each read by a builder of `datasets`."""
    splits = by_split(files_of(pattern, spec), spec)
    return {
        name: partial(open_files, builder, files, with_split(spec, name), max_megapixels)
        for name, files in splits.items()
    }


def with_split(spec: str, split: str) -> str:
    """The SPEC that names one split."""
    return spec if split == WHOLE else f"{spec}@{split}"


def open_files(builder: str, files: list[Path], spec: str, max_megapixels: float) -> TableSource:
    """The pictures of some files, brought into the Arrow cache of `datasets` the first time. Raises UserError."""
    with told(spec):
        table = datasets.load_dataset(builder, data_files={"train": [str(file) for file in files]}, split="train")
    return open_table(spec, table, fingerprint_of_files(files), max_megapixels)


def open_table(spec: str, table: datasets.Dataset, fingerprint: str, max_megapixels: float) -> TableSource:
    """The pictures of a table that is not empty. Raises UserError."""
    if not len(table):
        raise UserError(f"no pictures in {spec}: it has no rows", "name other files, or another @split")
    return TableSource(spec, table, fingerprint, max_megapixels=max_megapixels)


def disk_splits(path: str, spec: str, *, max_megapixels: float) -> Splits:
    """`disk:PATH`: what `save_to_disk` wrote, with or without splits."""
    folder = expand(path).absolute()
    if not folder.exists():
        raise UserError(f"no folder {path}, in {spec}", "disk: names a folder that datasets' save_to_disk wrote")
    with told(spec, "disk: names a folder that datasets' save_to_disk wrote"):
        return loaded_splits(datasets.load_from_disk(str(folder)), spec, max_megapixels)


def hub_splits(name: str, spec: str, *, max_megapixels: float) -> Splits:
    """`hf:NAME[:config]`: a set of the Hugging Face Hub, or a folder here that is laid out like one."""
    folder, config = expand(name), ""
    if folder.exists():
        name = str(folder)
    elif name.startswith((".", "/", "~")):
        raise UserError(f"no folder {name}, in {spec}", "hf: names a set of the Hub, or a folder laid out like one")
    else:
        name, _, config = name.partition(":")
    with told(spec):
        return loaded_splits(datasets.load_dataset(name, config or None), spec, max_megapixels)


def loaded_splits(found: datasets.Dataset | datasets.DatasetDict, spec: str, max_megapixels: float) -> Splits:
    """The splits of what `datasets` has loaded."""
    tables = found if isinstance(found, datasets.DatasetDict) else {WHOLE: found}
    return {name: partial(open_loaded, with_split(spec, name), table, max_megapixels) for name, table in tables.items()}


def open_loaded(spec: str, table: datasets.Dataset, max_megapixels: float) -> TableSource:
    """The pictures of a loaded table; its fingerprint is that of `datasets`, and the names and sizes of its files."""
    files = [Path(file["filename"]) for file in table.cache_files]
    return open_table(spec, table, fingerprint_of_files(files, table._fingerprint), max_megapixels)


def demo_splits(*, max_megapixels: float) -> Splits:
    """`demo`: the set that ships with the package."""
    return {
        split: partial(open_files, "parquet", [DEMO / f"{split}.parquet"], f"demo@{split}", max_megapixels)
        for split in ("train", "test")
    }


@contextmanager
def told(spec: str, hint: str = "") -> Iterator[None]:
    """What goes wrong in `datasets`, told once, as the user's error; its progress bars only on a terminal."""
    silent, verbosity = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it logs what it then raises
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    except ConnectionError as error:
        away = "check the network, or save the set with datasets' save_to_disk where there is one, and use disk:PATH"
        raise UserError(f"cannot reach the Hub for {spec}: {first_line(error)}", away) from error
    except DatasetNotFoundError as error:
        mend = hint or "check the name; for a set that is gated, log in with 'hf auth login'"
        raise UserError(f"no such set: {spec}: {first_line(error)}", mend) from error
    except Exception as error:  # over bad input datasets raises almost anything: TarError, IndexError, its own
        raise UserError(f"cannot read {spec}: {first_line(error.__cause__ or error)}", hint) from error
    finally:
        datasets.logging.set_verbosity(verbosity)
        if not silent:
            datasets.enable_progress_bars()


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
