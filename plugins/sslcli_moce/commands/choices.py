"""What `sslcli moce select-expert` writes beside the backbones: every choice as data, and a table of all for people."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslcli.disk import folder_beside, write_whole
from sslcli.errors import RunError, UserError

if TYPE_CHECKING:
    from sslcli_moce.commands.handing import Handed
    from sslcli_moce.commands.voting import Elected

CHOICE, CHOICES, TABLE = "choice.json", "choices.json", "choices.md"
TASK_HEADS = ("task", "pictures", "experts", "cluster", "share", "margin", "resampled", "gate", "folder")
EXPERT_HEADS = ("experts", "training pictures", "cluster", "gate", "folder")
OURS = ("backbone.safetensors", "config.json", CHOICE)


def document_of(elected: "Elected", handed: "Handed", blocks: Sequence[int], folder: str) -> dict[str, Any]:
    """A task's choice as plain data; shares, not per cent."""
    choice, ballot = elected.choice, elected.ballot
    return {
        "task": elected.task.name,
        "dataset": elected.task.spec,
        "data": elected.task.source.spec,
        "pictures": ballot.pictures,
        "broken": elected.broken,
        "blocks": list(blocks),
        "vote": choice.vote,
        "experts": list(choice.experts),
        "cluster": choice.cluster,
        "gates": list(handed.gates),
        "gate": handed.gate,
        "share": choice.share,
        "second": list(choice.second) if choice.second is not None else None,
        "margin": choice.margin,
        "stability": choice.stability,
        "cosine": elected.cosine,
        "cosine_of_clustered": elected.usual,
        "doubts": list(elected.doubts),
        "votes": votes_of(elected, blocks),
        "folder": folder,
        "difference": handed.difference,
    }


def votes_of(elected: "Elected", blocks: Sequence[int]) -> dict[str, Any]:
    """Pictures of each cluster, of each path through the experts, and of each expert in every block; most first."""
    ballot = elected.ballot
    return {
        "clusters": [
            {"cluster": cluster, "pictures": count, "experts": list(ballot.paths[cluster])}
            for cluster, count in ballot.by_cluster.items()
        ],
        "paths": [{"experts": list(path), "pictures": count} for path, count in ballot.by_path.items()],
        "layers": [
            {"block": block, "experts": [{"expert": expert, "pictures": count} for expert, count in votes.items()]}
            for block, votes in zip(blocks, ballot.by_layer)
        ],
    }


def expert_document(handed: "Handed", blocks: Sequence[int], pictures: int, folder: str) -> dict[str, Any]:
    """A backbone of `--all` as plain data; `pictures` are those of the training set that take its experts."""
    return {
        "experts": list(handed.experts),
        "blocks": list(blocks),
        "cluster": handed.cluster,
        "pictures": pictures,
        "gates": list(handed.gates),
        "gate": handed.gate,
        "folder": folder,
        "difference": handed.difference,
    }


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """A document, whole or not at all."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    write_whole(file, lambda path: path.write_text(text + "\n", encoding="utf-8"))


def write_table(file: Path, report: Mapping[str, Any]) -> None:
    """The report as Markdown: a table of the tasks, a table of the extracted experts, and what is doubtful."""
    lines = [f"# Experts of {report['run']}", "", f"{report['judged']}, clusters in {report['clusters']}.", ""]
    if report["tasks"]:
        lines += markdown([task_row(task) for task in report["tasks"]], TASK_HEADS)
    for task in report["tasks"]:
        lines += [f"* {task['task']}: {doubt}" for doubt in task["doubts"]]
    if report["experts"]:
        lines += ["", *markdown([expert_row(expert) for expert in report["experts"]], EXPERT_HEADS)]
    text = "\n".join(lines) + "\n"
    write_whole(file, lambda path: path.write_text(text, encoding="utf-8"))


def task_row(task: Mapping[str, Any]) -> tuple[object, ...]:
    """A task in a line of the table."""
    return (
        task["task"],
        task["pictures"],
        "-".join(map(str, task["experts"])),
        task["cluster"],
        f"{task['share']:.1%}",
        f"{task['margin']:+.1%}",
        f"{task['stability']:.1%}",
        f"{task['gate']:.2f}",
        task["folder"],
    )


def expert_row(expert: Mapping[str, Any]) -> tuple[object, ...]:
    """An extracted backbone of `--all` in a line of the table."""
    named = "-".join(map(str, expert["experts"]))
    return named, expert["pictures"], expert["cluster"], f"{expert['gate']:.2f}", expert["folder"]


def markdown(rows: Sequence[Sequence[object]], heads: Sequence[str]) -> list[str]:
    """A table in Markdown, and an empty line."""
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines] + [""]


@contextmanager
def filled(folder: Path, *, again: bool) -> Iterator[Path]:
    """A folder to write into, which takes its place when all is well; else nothing is left, and nothing is changed.

    Where the folder is there already, what an earlier call made is replaced, and what else lies in it stays.
    """
    refuse_taken(folder, again=again)
    try:
        with folder_beside(folder) as unfinished:
            yield unfinished
            if folder.exists():
                clear(folder)
            settle(unfinished, folder)
    except OSError as failure:
        raise RunError(
            f"cannot write {folder}: {failure.strerror or failure}", "make room, or name another folder"
        ) from failure


def refuse_taken(folder: Path, *, again: bool) -> None:
    """A folder that is not there, or empty, or that an earlier call made and `again` lets go. Raises UserError."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    made = (folder / CHOICES).is_file()
    if not made:
        raise UserError(f"{folder} is already there, and holds something else", "name another folder with -o")
    if not again:
        raise UserError(f"{folder} is already there", "--again replaces what was extracted into it")


def clear(folder: Path) -> None:
    """Take away the backbones that an earlier call extracted, and no other file."""
    try:
        report = json.loads((folder / CHOICES).read_text(encoding="utf-8"))
        named = [entry["folder"] for entry in (*report["tasks"], *report["experts"])]
    except (OSError, ValueError, KeyError, TypeError):
        named = []
    for place in (folder / name for name in named if name == "." or Path(name).name == name):
        for file in OURS:
            (place / file).unlink(missing_ok=True)
        if place != folder and place.is_dir() and not any(place.iterdir()):
            place.rmdir()


def settle(unfinished: Path, folder: Path) -> None:
    """Move everything to where it belongs, the reports last."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.replace(unfinished, folder)
        return
    files = [file for file in sorted(unfinished.rglob("*")) if file.is_file()]
    for file in sorted(files, key=lambda file: file.name in (CHOICES, TABLE)):
        place = folder / file.relative_to(unfinished)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
