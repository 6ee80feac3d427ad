"""Memory as features grow: a table of features gathered from its blocks, opened, and judged by kNN.

    python benchmarks/memory.py                                # 125 000 to 1 000 000 x 768, 1 000 test pictures
    python benchmarks/memory.py --rows 100000,200000 --json

Each size in a process of its own. `gather` and `knn` are what the process's own memory grew by at most (see peak.py);
`whole` is what the features alone would take. The blocks hold random numbers: only their size matters here.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peak import Peak

Figures = dict[str, Any]


def main() -> int:
    """Measure and print."""
    options = arguments()
    reports = [in_own_process(int(rows), options) for rows in options.rows.split(",")]
    print(json.dumps(reports, indent=2) if options.json else "\n".join(map(in_words, reports)))
    return 0


def arguments() -> argparse.Namespace:
    """Sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("width", 768), ("test", 1000), ("k", 20), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rows", default="125000,250000,500000,1000000", help="numbers of features, with commas")
    parser.add_argument("--folder", default=None, help="where there is room for twice the features")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def in_own_process(rows: int, options: argparse.Namespace) -> Figures:
    """The figures of one size."""
    with (
        multiprocessing.get_context("spawn").Pool(1) as pool,
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        return pool.apply(measure, (rows, vars(options), folder))


def measure(rows: int, options: Figures, folder: str) -> Figures:
    """Blocks of random features, gathered, opened and searched."""
    from sslcli.evaluation.blocks import Blocks
    from sslcli.evaluation.features import Table
    from sslcli.evaluation.kept import gathered
    from sslcli.evaluation.vote import knn

    torch.set_num_threads(options["threads"])
    width, generator = options["width"], torch.Generator().manual_seed(0)
    blocks = Blocks(Path(folder, "blocks"), rows)
    for block in blocks.missing():
        numbers = torch.tensor(blocks.numbers(block))
        blocks.write(block, Table(torch.randn(len(numbers), width, generator=generator), numbers))
    test, labels = torch.randn(options["test"], width, generator=generator), torch.arange(rows) % 100
    knn(test, labels[: len(test)], test, labels[: len(test)], ks=[options["k"]])  # loads what it needs
    with Peak() as gather:
        table = gathered(blocks, Path(folder, "table"))
    begin = time.perf_counter()
    with Peak() as search:
        knn(table.features, labels, test, labels[: len(test)], ks=[options["k"]])
    seconds = time.perf_counter() - begin
    whole = table.features.nbytes / 2**20
    return {"rows": rows, "whole": whole, "gather": gather.megabytes, "knn": search.megabytes, "seconds": seconds}


def in_words(report: Figures) -> str:
    """A size as a line."""
    return (
        f"{report['rows']:>9} features of {report['whole']:6.0f} MB: gathered in {report['gather']:4.0f} MB, "
        f"searched in {report['knn']:4.0f} MB and {report['seconds']:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
