"""What `sslcli moce study` found: scores with intervals, differences on the same pictures, and these in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sslcli.words import counted
from sslcli_moce.commands.study_judging import KNN, LINEAR
from sslcli_moce.commands.study_plan import ALL, MOCE, A, B

if TYPE_CHECKING:
    from sslcli.evaluation.interval import Interval
    from sslcli_moce.commands.study_judging import Right

MEAN = "mean"  # over the tasks
NAMES = {KNN: "kNN", LINEAR: "linear"}
COMPARED = ((A, ALL), (B, ALL), (MOCE, ALL))
CAUTION = (
    "Intervals are 95 % bootstrap intervals over the test pictures. They do not cover the chance of training: "
    "another seed gives other numbers (--seed)."
)


def scores_of(right: "Right", tasks: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Every model on every task, and in the mean of the tasks, by each protocol."""
    from sslcli.evaluation.interval import mean_interval

    return [
        {"protocol": protocol, "model": model, "task": task, **plain(mean_interval(*truths[part], seed=seed))}
        for protocol, models in right.items()
        for model, truths in models.items()
        for task, part in parts(tasks)
    ]


def differences_of(right: "Right", tasks: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """How much better one model is than another on the same pictures: halves and MoCE against everything."""
    from sslcli.evaluation.interval import paired_interval

    return [
        {
            "protocol": protocol,
            "model": one,
            "against": other,
            "task": task,
            **plain(paired_interval(models[one][part], models[other][part], seed=seed)),
        }
        for protocol, models in right.items()
        for one, other in COMPARED
        if one in models and other in models
        for task, part in parts(tasks)
    ]


def parts(tasks: Sequence[str]) -> Iterator[tuple[str, slice]]:
    """Every task by itself, and all of them together where there are several."""
    yield from ((task, slice(number, number + 1)) for number, task in enumerate(tasks))
    if len(tasks) > 1:
        yield MEAN, slice(None)


def plain(interval: "Interval") -> dict[str, float]:
    """An interval as plain data; shares, not per cent."""
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def verdicts(differences: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> list[str]:
    """In words: on which tasks a half beats everything, and whether MoCE beats the dense model."""
    said = []
    for protocol in NAMES:
        own = [entry for entry in differences if entry["protocol"] == protocol]
        halves = [entry for entry in own if entry["model"] in (A, B) and entry["task"] != MEAN]
        if halves:
            said.append(f"{NAMES[protocol]}: {negative_transfer(halves, tasks)}")
        moce = [entry for entry in own if entry["model"] == MOCE]
        if moce:
            said.append(f"{NAMES[protocol]}: {gain_of_experts(moce, tasks)}")
    return said


def negative_transfer(halves: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> str:
    """`negative transfer on 3 of 5 tasks: birds (dense-a), ...`; only where the whole interval is on one side."""
    better: dict[str, Mapping[str, Any]] = {}
    for entry in halves:
        known = better.get(entry["task"])
        if sign(entry) > 0 and (known is None or entry["value"] > known["value"]):
            better[entry["task"]] = entry
    worse = [task for task in tasks if all(sign(entry) < 0 for entry in halves if entry["task"] == task)]
    open_ones = [task for task in tasks if task not in better and task not in worse]
    named = ", ".join(f"{task} ({entry['model']}, {signed(entry['value'])})" for task, entry in better.items())
    said = f"negative transfer on {len(better)} of {counted(len(tasks), 'task')}{': ' if named else ''}{named}"
    said += f"; everything is better than either half on {', '.join(worse)}" if worse else ""
    return said + (f"; not told apart: {', '.join(open_ones)}" if open_ones else "")


def gain_of_experts(moce: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> str:
    """`MoCE's expert is better than dense-all on 2 of 3 tasks, ...; in the mean +1.2 [+0.4, +2.0]`."""
    alone = [entry for entry in moce if entry["task"] != MEAN]
    groups = {"better": 1, "worse": -1, "not told apart": 0}
    listed = {word: [entry["task"] for entry in alone if sign(entry) == value] for word, value in groups.items()}
    counts = ", ".join(f"{word} on {len(names)} ({', '.join(names)})" for word, names in listed.items() if names)
    mean = next((entry for entry in moce if entry["task"] == MEAN), None)
    over_all = f"; in the mean {between(mean)}" if mean else ""
    return f"of {counted(len(tasks), 'task')}, MoCE's expert against {ALL} is {counts}{over_all}"


def sign(entry: Mapping[str, Any]) -> int:
    """1 or -1 where the whole interval is above or below 0, else 0."""
    return int(entry["low"] > 0) - int(entry["high"] < 0)


def signed(share: float) -> str:
    """A difference in points."""
    return f"{100 * share:+.1f}"


def between(entry: Mapping[str, Any]) -> str:
    """`+1.2 [+0.4, +2.0]`, in points."""
    return f"{signed(entry['value'])} [{signed(entry['low'])}, {signed(entry['high'])}]"


def rows_of(report: Mapping[str, Any]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """The scores in per cent, then the differences in points, a line for each model and protocol; and the heads."""
    columns = [task["name"] for task in report["tasks"]]
    columns += [MEAN] if len(columns) > 1 else []
    lines: dict[tuple[str, str], list[str]] = {}
    for entry in report["scores"]:
        value, low, high = (100 * entry[name] for name in ("value", "low", "high"))
        cell = f"{value:.1f} [{low:.1f}, {high:.1f}]"
        lines.setdefault((NAMES[entry["protocol"]], entry["model"]), []).append(cell)
    for entry in report["differences"]:
        name = f"{entry['model']} - {entry['against']}"
        lines.setdefault((NAMES[entry["protocol"]], name), []).append(between(entry))
    rows = [(*head, *cells) for head, cells in lines.items()]
    return sorted(rows, key=lambda row: row[0] != NAMES[KNN]), ("by", "model", *columns)


def choices_in_words(report: Mapping[str, Any]) -> list[str]:
    """Every task's experts, and why they may be a weak choice."""
    return [
        f"{task['name']}: experts {'-'.join(map(str, task['expert']['experts']))} by {task['expert']['share']:.1%} "
        "of the votes" + "".join(f"; {doubt}" for doubt in task["expert"]["doubts"])
        for task in report["tasks"]
    ]


def page_of(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    from sslcli_moce.commands.choices import markdown

    rows, heads = rows_of(report)
    tasks = [(task["name"], task["said"]) for task in report["tasks"]]
    keys = ("name", "epochs", "pictures", "run")
    models = [[model.get(key) or "" for key in keys] for model in report["models"]]
    lines = [
        f"# Negative transfer on {report['data']}",
        "",
        *(f"* {line}" for line in report["said"]),
        "",
        "![Every model on every task](study.png)",
        "",
        *markdown(rows, heads),
        f"Shares of test pictures classified right, in per cent; differences in points. {CAUTION}",
        "",
        "Halves are trained for as many epochs of their own pictures, so for fewer steps.",
        "",
        *markdown(models, keys),
        *markdown(tasks, ("task", "judged on")),
        *(f"* {line}" for line in choices_in_words(report)),
        "",
    ]
    return "\n".join(lines)
