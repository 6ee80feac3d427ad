"""What MixedAE rests on: MAE, naive mixing and MixedAE at an equal budget, by kNN and linear, on real pictures.

    python benchmarks/mixedae_ablation.py [--data demo [--test SPEC]] [--epochs 100] [--seeds 1] [--json]

Naive mixing is MixedAE without homologous attention, segments and contrast; the paper says that it is worse than MAE,
and that each part mends some of it. All are `mae/tiny` or `mixedae/tiny` with equal encoder, decoder, views, batches,
rates and epochs of clean images; the seed decides the random start and the order. Runs that are there are not repeated.
The linear judge is scikit-learn's logistic regression on the same frozen features, each brought to unit variance.
Ten epochs took 3 to 8 minutes a form with one thread on a busy machine, and are too few to tell the forms apart.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sslcli.data.judged import open_judged
from sslcli.evaluation.features import extract
from sslcli.evaluation.opening import open_subject

NAIVE = ["loss.0.attention='plain'", "loss.0.segments=false", "loss.1.weight=0.0"]
FORMS: dict[str, tuple[str, list[str]]] = {
    "random start": ("mae/tiny", []),
    "MAE": ("mae/tiny", []),
    "naive mixing": ("mixedae/tiny", NAIVE),
    "+ homologous attention, segments": ("mixedae/tiny", ["loss.1.weight=0.0"]),
    "MixedAE (+ contrast)": ("mixedae/tiny", []),
}
NEIGHBOURS = "20"


def sslcli(*arguments: str) -> str:
    """What the program prints."""
    command = [sys.executable, "-m", "sslcli", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def train(form: str, seed: int, arguments: argparse.Namespace) -> tuple[str, float]:
    """The run of a form, and the seconds that it took; a random start is not trained."""
    recipe, changes = FORMS[form]
    if form == "random start":
        return f"random:{recipe}", 0.0
    run = (
        Path(arguments.output)
        / f"{Path(arguments.data).stem}-{list(FORMS).index(form)}-{arguments.epochs:g}ep-seed{seed}"
    )
    if (run / "backbone.safetensors").exists():
        return str(run), 0.0
    budget = [f"train.epochs={arguments.epochs:g}", f"optimizer.warmup_epochs={arguments.epochs / 20:g}"]
    settings = [*changes, *budget, f"train.seed={seed}", "probe.data=''"]
    began = time.perf_counter()
    flags = [part for setting in settings for part in ("--set", setting)]
    sslcli("pretrain", recipe, "--data", arguments.data, *flags, "--output", str(run), "--quiet")
    return str(run), time.perf_counter() - began


def judge(run: str, arguments: argparse.Namespace) -> float:
    """The share of test pictures that the neighbours name rightly."""
    split = ["--train", arguments.data, "--test", arguments.test] if arguments.test else ["--data", arguments.data]
    found = json.loads(sslcli("eval", "knn", run, *split, "--k", NEIGHBOURS, "--pool", "mean", "--json"))
    return float(found["results"][0]["top1"])


def linear(run: str, arguments: argparse.Namespace) -> float:
    """The share of test pictures that a linear classifier names rightly."""
    split = ("", arguments.data, arguments.test) if arguments.test else (arguments.data,)
    judged, subject = open_judged(*split), open_subject(run, "mean")
    train, test = (extract(subject.encoder, source, subject.card) for source in (judged.train, judged.test))
    labels, answers = (
        part.labels()[table.positions.numpy()] for part, table in ((judged.train, train), (judged.test, test))
    )
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return float(classifier.fit(train.features.numpy(), labels).score(test.features.numpy(), answers))


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Accuracies of every form, one a seed, and seconds of training."""
    table: dict[str, dict[str, object]] = {}
    for form in FORMS:
        runs = [train(form, seed, arguments) for seed in range(arguments.seeds)]
        shares = [judge(run, arguments) for run, _ in runs]
        lines = [linear(run, arguments) for run, _ in runs]
        table[form] = {
            **{"knn": shares, "mean": statistics.mean(shares), "linear": lines, "linear_mean": statistics.mean(lines)},
            "seconds": sum(seconds for _, seconds in runs),
        }
        print(f"{form}: kNN {statistics.mean(shares):.1%}, linear {statistics.mean(lines):.1%}", file=sys.stderr)
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="demo")
    parser.add_argument("--test", default="", metavar="SPEC", help="where the set has no splits of its own")
    parser.add_argument("--epochs", type=float, default=100.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", default="runs/ablation")
    parser.add_argument("--json", action="store_true")
    table = measure(arguments := parser.parse_args())
    if arguments.json:
        print(json.dumps({"data": arguments.data, "epochs": arguments.epochs, "k": int(NEIGHBOURS), "forms": table}))
        return
    for form, row in table.items():
        print(f"{form:34} kNN {row['mean']:6.1%}   linear {row['linear_mean']:6.1%}   {row['seconds']:.0f} s")


if __name__ == "__main__":
    main()
