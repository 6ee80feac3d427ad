"""Find plugins, load each on its own, and gather what they offer into a `Registry`.

A plugin is an entry point of the group `sslcli`, or a single file named by `--plugin`. The built-in ones come the same
way. Each is loaded in a plugin manager of its own, so that what is wrong with one is nobody else's trouble.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import import_module, metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from sslcli.api import Offer
from sslcli.disk import expand
from sslcli.errors import UserError, did_you_mean
from sslcli.offers import Unfit, ask_hooks

GROUP = "sslcli"


@dataclass(frozen=True)
class Plugin:
    """A plugin that loaded: its entry-point name, the package that ships it, and what it offers."""

    name: str
    package: str
    version: str  # of the package; of a single file, the beginning of its SHA-256
    origin: str  # the module that the entry point names, or the path of the file
    offers: tuple[Offer, ...]


@dataclass(frozen=True)
class Broken:
    """A plugin that did not load, and why."""

    name: str
    package: str
    reason: str


@dataclass(frozen=True)
class Registry:
    """Everything that the installed plugins and the named files offer."""

    plugins: tuple[Plugin, ...]
    broken: tuple[Broken, ...] = ()
    blocked: tuple[str, ...] = ()

    def find(self, kind: str, name: str) -> Offer:
        """The one offer of this kind and name; a UserError when there is none, or when two plugins offer it."""
        found = [offer for offer in self.offers(kind) if offer.name == name]
        if not found:
            raise UserError(f"no {kind} is called '{name}'", self.hint_for(kind, name))
        if len(found) > 1:
            raise clash(kind, name, [plugin for plugin in self.plugins if set(plugin.offers) & set(found)])
        return found[0]

    def names(self, kind: str) -> tuple[str, ...]:
        """The names on offer of a kind, sorted."""
        return tuple(sorted({offer.name for offer in self.offers(kind)}))

    def offers(self, kind: str) -> tuple[Offer, ...]:
        """All offers of a kind: `loss`, `augmentation` and so on."""
        return tuple(offer for plugin in self.plugins for offer in plugin.offers if offer.kind == kind)

    def plugin_of(self, offer: Offer) -> Plugin:
        """The plugin that brought an offer."""
        return next(plugin for plugin in self.plugins if any(offer is own for own in plugin.offers))

    def hint_for(self, kind: str, name: str) -> str:
        """What may be meant by an unknown name, and which plugins could not be asked."""
        broken = [f"plugin '{plugin.name}' could not be loaded: {plugin.reason}" for plugin in self.broken]
        blocked = [f"blocked by SSLCLI_BLOCK: {', '.join(self.blocked)}"] if self.blocked else []
        return "; ".join(filter(None, [did_you_mean(name, self.names(kind)), *broken, *blocked]))


def clash(kind: str, name: str, plugins: Sequence[Plugin]) -> UserError:
    """The error for a name that two plugins offer."""
    said = " and ".join(f"{plugin.package} {plugin.version}" for plugin in plugins)
    ways = " or ".join(f"SSLCLI_BLOCK={plugin.name}" for plugin in plugins)
    return UserError(f"two plugins offer the {kind} '{name}': {said}", f"block one of them: {ways}")


def load_registry(files: Sequence[Path] = ()) -> Registry:
    """What the installed plugins and these single-file plugins offer; loaded once for each set of files.

    A broken installed plugin is a warning on stderr; a broken file is a UserError, for the user named it.
    """
    return _load(tuple(dict.fromkeys(expand(file).resolve() for file in files)), blocked_names())


@cache
def _load(files: tuple[Path, ...], blocked: tuple[str, ...]) -> Registry:
    installed = load_installed(blocked)
    return Registry((*installed.plugins, *(load_file(file) for file in files)), installed.broken, installed.blocked)


@cache
def load_installed(blocked: tuple[str, ...]) -> Registry:
    """The plugins of the installed packages, with a warning for each that is broken."""
    entries = sorted(set(metadata.entry_points(group=GROUP)), key=lambda entry: entry.name)
    loaded = [load_entry(entry) for entry in entries if entry.name not in blocked]
    broken = tuple(one for one in loaded if isinstance(one, Broken))
    for one in broken:
        warn(f"plugin '{one.name}' of {one.package} is broken: {one.reason}")
    known = {entry.name for entry in entries}
    for name in set(blocked) - known:
        warn(f"SSLCLI_BLOCK names '{name}', but no plugin is called so; {did_you_mean(name, known)}")
    plugins = tuple(one for one in loaded if isinstance(one, Plugin))
    return Registry(plugins, broken, tuple(name for name in blocked if name in known))


def blocked_names() -> tuple[str, ...]:
    """The plugins that SSLCLI_BLOCK names, divided by commas."""
    return tuple(sorted({name.strip() for name in os.environ.get("SSLCLI_BLOCK", "").split(",")} - {""}))


def warn(text: str) -> None:
    """One line of talk for the user."""
    print(f"warning: {text}", file=sys.stderr)


def load_entry(entry: metadata.EntryPoint) -> Plugin | Broken:
    """One installed plugin, or why it could not be loaded."""
    package = entry.dist.name if entry.dist else entry.module
    version = entry.dist.version if entry.dist else "unknown"
    try:
        return Plugin(entry.name, package, version, entry.value, gather(entry.name, entry.load))
    except Unfit as error:
        return Broken(entry.name, package, str(error))


def load_file(path: Path) -> Plugin:
    """A single-file plugin, imported under the file's stem so that `code = "stem:Attribute"` finds it."""
    if not path.is_file():
        raise UserError(f"no such plugin file: {path}", "--plugin takes the path of a Python file")
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise UserError(f"{path.name} cannot be imported", "name the file like my_loss.py: letters, digits and _")
    refuse_taken_name(path)
    try:
        offers = gather(path.stem, lambda: import_file(path))
    except Unfit as error:
        raise UserError(f"plugin {path} is broken: {error}", "docs/plugins.md grows one from nothing") from error
    version = f"sha256:{sha256(path.read_bytes()).hexdigest()[:12]}"
    return Plugin(path.stem, path.name, version, str(path), offers)


def refuse_taken_name(path: Path) -> None:
    """A file must not stand in the place of another module: a plugin called torch.py would break everything."""
    for finder in sys.meta_path:
        spec = finder.find_spec(path.stem, None)
        if spec and Path(spec.origin or "").resolve() != path:
            where = spec.origin or "a package"
            raise UserError(f"{path.name} has the name of another module, {path.stem} ({where})", "rename the file")


def import_file(path: Path) -> ModuleType:
    """Run a file as the module of its stem. Its folder joins sys.path, so that loader workers can import it too."""
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} cannot be imported", "is it a Python file?")
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    return module


def gather(name: str, load: Callable[[], Any]) -> tuple[Offer, ...]:
    """Load a plugin's module and ask its hooks what they offer; `Unfit` says what is wrong with it."""
    try:
        offers = ask_hooks(name, load())
    except Unfit:
        raise
    except (Exception, SystemExit) as error:
        raise Unfit(in_words(error)) from error
    twice = [offer for offer, count in Counter((o.kind, o.name) for o in offers).items() if count > 1]
    if twice:
        raise Unfit(f"it offers the {twice[0][0]} '{twice[0][1]}' twice")
    return offers


def in_words(error: BaseException) -> str:
    """An exception as one line, with the place where it was raised."""
    text = " ".join(str(error).split())
    places = [place for place in extract_tb(error.__traceback__) if not is_machinery(place.filename)]
    where = f" ({places[-1].filename}:{places[-1].lineno})" if places else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def is_machinery(filename: str) -> bool:
    """Whether a line of a traceback is of the import system, of pluggy or of this file: not where an author looks."""
    if filename == __file__ or filename.startswith("<frozen"):
        return True
    return not {"importlib", "pluggy"}.isdisjoint(Path(filename).parts)


def resolve(code: str) -> Any:
    """The attribute that `"package.module:Attribute"` names, imported now; a UserError when it is not there."""
    module_name, _, path = code.partition(":")
    package = module_name.partition(".")[0]
    try:
        found: Any = import_module(module_name)
    except Exception as error:
        raise UserError(
            f"plugin {package} cannot import {module_name}: {in_words(error)}",
            f"`sslcli plugins check` looks a plugin over; is {package} installed with all it needs?",
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            known = [name for name in vars(found) if not name.startswith("_")]
            raise UserError(f"plugin {package}: {module_name} has no '{part}'", did_you_mean(part, known))
        found = getattr(found, part)
    return found


def provenance(registry: Registry, offers: Iterable[Offer]) -> list[dict[str, str]]:
    """Which plugins, in which versions, brought these offers: what a run writes into environment.json."""
    used = {plugin.origin: plugin for plugin in map(registry.plugin_of, offers)}
    return [
        {"name": plugin.name, "package": plugin.package, "version": plugin.version, "origin": plugin.origin}
        for plugin in sorted(used.values(), key=lambda plugin: plugin.name)
    ]
