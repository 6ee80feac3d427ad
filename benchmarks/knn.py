"""kNN beside lightly's `knn_predict` in blocks, and beside scikit-learn, on equal features, in one run.

    python benchmarks/knn.py                       # 50 000 x 5 000 x 384, k = 200, as in the documentation
    python benchmarks/knn.py --against sklearn --json

Each contender runs in a process of its own, in turns, so peak memory is its own, above that of the loaded features
(Linux). CPU time tells more than the clock where other programs run beside.
`pip install 'sslcli[benchmark]'` brings the two others.
"""

import argparse
import importlib.util
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

Sets = tuple[Tensor, Tensor, Tensor]  # training features and labels, test features
TEMPERATURE = 0.07


def main() -> int:
    """Measure, print, and fail when predictions disagree."""
    options = arguments()
    names = ["sslcli", *options.against.split(",")]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name in names:
            runs[name].append(in_own_process(name, vars(options)))
    report = summary(runs, options)
    print(json.dumps(report, indent=2) if options.json else in_words(report))
    return 0 if all(other["agreement"] > 0.999 for other in report["others"].values()) else 1


def arguments() -> argparse.Namespace:
    """Sizes, and whom to race."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("train", 50_000),
        ("test", 5_000),
        ("width", 384),
        ("classes", 100),
        ("k", 200),
        ("repeats", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--against", default="lightly", help="lightly, sklearn, or both with a comma")
    parser.add_argument(
        "--block", type=int, default=512, help="test pictures that lightly and scikit-learn take at a time"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def in_own_process(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Seconds, peak memory and predictions of one contender, from a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (name, options))


def measure(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run one contender once, after a small round that loads what it needs."""
    torch.set_num_threads(options["threads"])
    sets = make_sets(options["train"], options["test"], options["width"], options["classes"])
    contender = CONTENDERS[name]
    contender((sets[0][:2000], sets[1][:2000], sets[2][:10]), options)
    before = forget_peak()
    begin, worked = time.perf_counter(), time.process_time()
    predicted = contender(sets, options)
    figures = {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - worked}
    return {**figures, "megabytes": peak_megabytes() - before, "predicted": predicted.tolist()}


def make_sets(train: int, test: int, width: int, classes: int) -> Sets:
    """Clouds around class centres that overlap, so that votes are close and an error would show."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, width, generator=generator)
    labels = torch.randint(classes, (train + test,), generator=generator)
    features = normalize(0.25 * centres[labels] + torch.randn(train + test, width, generator=generator), dim=1)
    return features[:train], labels[:train], features[train:]


def by_sslcli(sets: Sets, options: dict[str, Any]) -> Tensor:
    """The vote of this package."""
    from sslcli.evaluation.vote import predictions

    found = predictions(*sets, ks=[options["k"]], temperature=TEMPERATURE, classes=options["classes"])
    return next(found)[1][:, 0]


def by_lightly(sets: Sets, options: dict[str, Any]) -> Tensor:
    """The function of lightly, a block of test pictures at a time."""
    knn_predict = load_lightly()
    train, labels, test = sets
    bank = train.T.contiguous()
    vote = (bank, labels, options["classes"], options["k"], TEMPERATURE)
    return torch.cat([knn_predict(block, *vote)[:, 0] for block in test.split(options["block"])])


def load_lightly() -> Callable[..., Tensor]:
    """`knn_predict` from its own file: the package around it imports PyTorch Lightning."""
    package = importlib.util.find_spec("lightly")
    if package is None or not package.submodule_search_locations:
        sys.exit("error: lightly is not installed\nhint: pip install --no-deps lightly")
    path = f"{package.submodule_search_locations[0]}/utils/benchmarking/knn.py"
    spec = importlib.util.spec_from_file_location("lightly_knn", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., Tensor] = module.knn_predict
    return function


def by_sklearn(sets: Sets, options: dict[str, Any]) -> Tensor:
    """Brute force of scikit-learn, with the same weights."""
    import numpy as np
    from sklearn.neighbors import KNeighborsClassifier

    train, labels, test = sets
    weights = lambda distances: np.exp((1.0 - distances) / TEMPERATURE)  # noqa: E731
    model = KNeighborsClassifier(min(options["k"], len(train)), weights=weights, algorithm="brute", metric="cosine")
    model.fit(train.numpy(), labels.numpy())
    return torch.cat([torch.from_numpy(model.predict(block.numpy())) for block in test.split(options["block"])])


CONTENDERS = {"sslcli": by_sslcli, "lightly": by_lightly, "sklearn": by_sklearn}


def forget_peak() -> float:
    """Let the peak begin anew at what is held now (Linux, proc_pid_clear_refs(5)), and say what that is."""
    with open("/proc/self/clear_refs", "w") as switch:
        switch.write("5")
    return peak_megabytes()


def peak_megabytes() -> float:
    """The most memory this process has held since its peak was last forgotten."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def summary(runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> dict[str, Any]:
    """The best time of each, and how often it predicts the class that we do."""
    ours = best(runs.pop("sslcli"))
    others = {}
    for name, found in runs.items():
        other = best(found)
        equal = sum(a == b for a, b in zip(ours["predicted"], other["predicted"])) / len(ours["predicted"])
        ratios = {"ratio": other["seconds"] / ours["seconds"], "cpu_ratio": other["cpu_seconds"] / ours["cpu_seconds"]}
        others[name] = figures_of(other) | ratios | {"agreement": equal}
    sizes = {name: getattr(options, name) for name in ("train", "test", "width", "classes", "k", "threads")}
    return {"sizes": sizes, **figures_of(ours), "others": others}


def figures_of(run: dict[str, Any]) -> dict[str, float]:
    """A run without its predictions."""
    return {name: figure for name, figure in run.items() if name != "predicted"}


def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The fastest of several runs: what else the machine did only ever adds."""
    return min(runs, key=lambda run: run["seconds"])


def in_words(report: dict[str, Any]) -> str:
    """The report as lines."""
    lines = [f"sslcli   {costs(report)}"]
    for name, other in report["others"].items():
        lines.append(
            f"{name:<8} {costs(other)}, sslcli is {other['ratio']:.2f} times as fast "
            f"({other['cpu_ratio']:.2f} by CPU time), {other['agreement']:.2%} of predictions agree"
        )
    return "\n".join(lines)


def costs(figures: dict[str, Any]) -> str:
    """Time and memory in words."""
    return (
        f"{figures['seconds']:6.2f} s ({figures['cpu_seconds']:.2f} s of CPU), "
        f"{figures['megabytes']:4.0f} MB above the features"
    )


if __name__ == "__main__":
    sys.exit(main())
