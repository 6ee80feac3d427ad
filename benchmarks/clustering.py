"""Balanced clusters beside scikit-learn's k-means on the same features: seconds, memory, and how even they are.

    python benchmarks/clustering.py                          # 100 000 and 200 000 x 384 into 256 clusters
    python benchmarks/clustering.py --rows 100000 --against minibatch,kmeans --json

Features lie in a file that is mapped into memory, as `sslcli moce cluster` keeps them. Each contender runs in a process
of its own, and its peak is that of its own memory (see peak.py).
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peak import Peak
from torch import Tensor

FILE, PART = "features.npy", 1024
Figures = dict[str, Any]


def main() -> int:
    """Measure and print."""
    options = arguments()
    reports = [one_size(rows, options) for rows in map(int, options.rows.split(","))]
    print(json.dumps(reports, indent=2) if options.json else "\n".join(map(in_words, reports)))
    return 0


def arguments() -> argparse.Namespace:
    """Sizes, and whom to race."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("width", 384), ("clusters", 256), ("kinds", 400), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rows", default="100000,200000", help="numbers of features, with commas")
    parser.add_argument("--against", default="minibatch", help="minibatch, kmeans, both with a comma, or none")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def one_size(rows: int, options: argparse.Namespace) -> Figures:
    """All contenders on one set of features."""
    names = ["sslcli", *(name for name in options.against.split(",") if name in CONTENDERS)]
    with tempfile.TemporaryDirectory() as folder:
        in_own_process(fill, (folder, rows, options.width, options.kinds))
        facts = vars(options) | {"rows": rows}
        return {"rows": rows} | {name: in_own_process(measure, (name, folder, facts)) for name in names}


def in_own_process(function: Any, arguments: tuple[Any, ...]) -> Any:
    """What a function gives in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def fill(folder: str, rows: int, width: int, kinds: int) -> None:
    """Clouds of uneven sizes that overlap, around a direction that all share, as features of an MAE do."""
    generator = torch.Generator().manual_seed(0)
    centres, common = torch.randn(kinds, width, generator=generator), torch.randn(width, generator=generator)
    weights = torch.rand(kinds, generator=generator) ** 2
    features = np.lib.format.open_memmap(Path(folder, FILE), "w+", np.float32, (rows, width))
    for begin in range(0, rows, PART):
        count = min(PART, rows - begin)
        labels = torch.multinomial(weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, width, generator=generator)
        features[begin : begin + count] = (centres[labels] + 2.0 * common + noise).numpy()
    features.flush()


def measure(name: str, folder: str, options: Figures) -> Figures:
    """Run one contender once, after a small round."""
    from sslcli_moce.units import Units

    torch.set_num_threads(options["threads"])
    features = torch.from_numpy(np.load(Path(folder, FILE), mmap_mode="c"))
    contender = CONTENDERS[name]
    contender(Units(features[:1000]), 8, 1000)  # loads what it needs
    with Peak() as peak:
        begin, worked = time.perf_counter(), time.process_time()
        ids, more = contender(Units(features), options["clusters"], options["rows"])
        figures = {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - worked}
    sizes = ids.long().bincount(minlength=options["clusters"])
    figures |= {"megabytes": peak.megabytes, "smallest": int(sizes.min()), "largest": int(sizes.max())}
    return figures | more


def by_sslcli(blocks: Any, clusters: int, rows: int) -> tuple[Tensor, Figures]:
    """The clustering of `sslcli moce cluster`."""
    from sslcli_moce.clustering import Asked, beginning, finished, next_round
    from sslcli_moce.seeding import seeds

    asked = Asked(clusters)
    now = beginning(seeds(blocks, clusters, rows=rows, seed=0), rows, asked)
    while now.moves:
        now = next_round(blocks, now, asked)
    now, balance = finished(blocks, now, asked)
    facts = {"rounds": now.round, "passes": now.passes, "epsilon": now.epsilon, "deviation": balance.deviation}
    return now.ids, facts


def by_minibatch(blocks: Any, clusters: int, rows: int) -> tuple[Tensor, Figures]:
    """scikit-learn's MiniBatchKMeans, all features in memory."""
    from sklearn.cluster import MiniBatchKMeans

    features = torch.cat(list(blocks)).numpy()
    found = MiniBatchKMeans(clusters, batch_size=4096, n_init=1, random_state=0).fit(features)
    return torch.from_numpy(found.labels_), {"rounds": int(found.n_iter_)}


def by_kmeans(blocks: Any, clusters: int, rows: int) -> tuple[Tensor, Figures]:
    """scikit-learn's KMeans (Lloyd), as many rounds at most, all features in memory."""
    from sklearn.cluster import KMeans

    features = torch.cat(list(blocks)).numpy()
    found = KMeans(clusters, n_init=1, max_iter=30, random_state=0).fit(features)
    return torch.from_numpy(found.labels_), {"rounds": int(found.n_iter_)}


CONTENDERS = {"sslcli": by_sslcli, "minibatch": by_minibatch, "kmeans": by_kmeans}


def in_words(report: Figures) -> str:
    """A size as lines."""
    lines = [f"{report['rows']} features"]
    for name, one in report.items():
        if name != "rows":
            rest = {key: value for key, value in one.items() if key in ("rounds", "passes", "epsilon", "deviation")}
            lines.append(
                f"  {name:<10} {one['seconds']:7.1f} s ({one['cpu_seconds']:.1f} s of CPU), "
                f"{one['megabytes']:5.0f} MB, sizes {one['smallest']} to {one['largest']}  {rest}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
