"""How a check went, and what turns a function into one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sslcli.errors import SslcliError
from sslcli.offers import Unfit
from sslcli.plugins import in_words


class Skip(Exception):
    """Raised by a check that cannot be made here; its text says why."""


@dataclass(frozen=True)
class CheckResult:
    """One check of one offer: `loss 'align'`, `gives a finite scalar`, how it went, and what was wrong."""

    subject: str
    check: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str = ""


def run_check(subject: str, name: str, check: Callable[[], None]) -> CheckResult:
    """Make one check; whatever it raises is what was wrong."""
    try:
        check()
    except Skip as reason:
        return CheckResult(subject, name, "skipped", str(reason))
    except (Unfit, SslcliError) as complaint:
        return CheckResult(subject, name, "failed", str(complaint))
    except Exception as error:
        return CheckResult(subject, name, "failed", in_words(error))
    return CheckResult(subject, name, "passed")


def passed(results: Iterable[CheckResult]) -> bool:
    """Whether nothing failed."""
    return all(result.outcome != "failed" for result in results)


def in_sentence(check: Callable[..., Any]) -> str:
    """The name of a check as words."""
    return check.__name__.replace("_", " ")


def expect(condition: object, complaint: str) -> None:
    """Complain unless it is so."""
    if not condition:
        raise Unfit(complaint)
