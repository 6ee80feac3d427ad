"""A picture that a figure made: of matplotlib or of pixels, what it shows in a sentence, and the numbers in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from sslcli.disk import write_whole
from sslcli.errors import UserError

PIXELS, DRAWN = (".png", ".jpg", ".jpeg", ".webp"), (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp")
DOTS = 150  # an inch, of a drawing as pixels


@dataclass(frozen=True)
class Drawing:
    """`image` is a matplotlib Figure or a PIL image; `caption` says what is seen; `numbers` are plain data."""

    title: str
    image: Any
    caption: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def drawn(self) -> bool:
        """Whether it is made of lines and letters, not of pixels."""
        return hasattr(self.image, "savefig")

    def save(self, file: Path) -> None:
        """Write it in the format of the file's ending. Raises UserError for one that it cannot have."""
        refuse_ending(file, DRAWN if self.drawn else PIXELS)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, lambda path: self.write(path, file.suffix.lower().removeprefix(".")))
        except OSError as failure:
            raise UserError(f"cannot write {file}: {failure.strerror or failure}", "name another file") from failure

    def png(self) -> bytes:
        """The picture as a PNG."""
        held = BytesIO()
        self.write(held, "png")
        return held.getvalue()

    def svg(self) -> bytes:
        """The picture as an SVG, of a drawing."""
        held = BytesIO()
        self.write(held, "svg")
        return held.getvalue()

    def write(self, target: Any, form: str) -> None:
        """Write it to a file, open or by its path; letters stay letters in an SVG, and no date is in it."""
        if not self.drawn:
            self.image.convert("RGB").save(target, {"jpg": "JPEG", "jpeg": "JPEG"}.get(form, form.upper()))
            return
        import matplotlib

        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sslcli"}):
            dated = {"metadata": {"Date": None}} if form == "svg" else {}
            self.image.savefig(target, format=form, dpi=DOTS, bbox_inches="tight", **dated)


def refuse_ending(file: Path, known: Sequence[str]) -> None:
    """Refuse a file whose ending is none of those known. Raises UserError."""
    if file.suffix.lower() not in known:
        raise UserError(f"{file} has no ending that this figure can be written in", f"one of {', '.join(known)}")
