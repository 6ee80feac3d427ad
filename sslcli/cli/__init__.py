"""The command line: one file a command, each loaded only when it is called.

A command lives in `sslcli/cli/<name>.py` and has one line in `COMMANDS` (`sslcli/cli/commands.py`). The file exposes
either `app`, a `typer.Typer` (always a group, even of one command, such as `sslcli eval knn`), or a function named
like the command (`def pretrain(...)`, `import_` for `import`), annotated for typer; its docstring is the help, with
an example in a `\\b` paragraph. A package brings a command by an entry point of the group `sslcli.commands`: such an
app or such a function.

* A command parses and prints; it computes nothing and imports what it needs inside the function, so that `--help` stays
  quick and light. It prints data with `print` and `sslcli.cli.output`, talks on stderr, and takes `--json`.
* It returns None, or an exit code (`sslcli.errors`); it raises `UserError` and its kin, which are shown here.
* Tests call `run(["recipe", "list"])`, which returns the exit code, and read what `capsys` caught.
"""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

from sslcli import __version__
from sslcli.cli.commands import CommandGroup
from sslcli.errors import DONE, FAILED, INTERRUPTED, USER_CAN_MEND, SslcliError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UsageProblem: Any = typer.BadParameter.__mro__[2]  # ClickException: typer exports none of the classes between

app = typer.Typer(
    name="sslcli",
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def print_version(wanted: bool) -> None:
    """Print the version and stop, when `--version` is given."""
    if wanted:
        print(f"sslcli {__version__}")
        raise typer.Exit()


@app.callback()
def sslcli(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Pre-train vision backbones without labels.

    \b
    sslcli pretrain quickstart          train on the demo pictures
    sslcli eval knn runs/quickstart     judge what came out
    sslcli recipe list                  what else there is to train
    """


def main() -> None:
    """Entry point of the program."""
    open_streams()
    sys.exit(run(sys.argv[1:]))


def open_streams() -> None:
    """Put something in the place of streams that the caller has closed, as in `>&-`: what is said there is lost."""
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code, with everything that went wrong told on stderr."""
    try:
        result = get_command(app).main(list(arguments), prog_name="sslcli", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else DONE
    except SslcliError as error:
        return error.exit_code if error.told else tell_error(error.message, error.hint, error.exit_code)
    except UsageProblem as problem:
        return tell_usage(problem)
    except (KeyboardInterrupt, typer.Abort):
        return tell_error("interrupted", "", INTERRUPTED)
    except BrokenPipeError:
        return close_quietly()
    except OSError as failure:
        return tell_full_output(failure) if failure.errno in NO_ROOM and failure.filename is None else tell_bug()
    except Exception:
        return tell_bug()


def tell_error(message: str, hint: str, exit_code: int) -> int:
    """`error: message` and `hint: hint` on stderr."""
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return exit_code


def tell_usage(problem: Any) -> int:
    """A mistake in the arguments; a command called without any shows its help."""
    if type(problem).__name__ == "NoArgsIsHelpError":
        print(problem.format_message(), file=sys.stderr)
        return USER_CAN_MEND
    message = " ".join(problem.format_message().split()).rstrip(".").replace("Value error, ", "")  # pydantic's word
    context = getattr(problem, "ctx", None)
    hint = f"see '{context.command_path} --help'" if context else ""
    return tell_error(message[:1].lower() + message[1:], hint, USER_CAN_MEND)


def close_quietly() -> int:
    """The reader of our output has gone: leave nothing to be flushed at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def tell_full_output(failure: OSError) -> int:
    """What is written to stdout found no room, most likely: whoever writes a file tells of it, or names it."""
    close_quietly()
    return tell_error(f"cannot write the output: {failure.strerror}", "make room, or send it elsewhere", FAILED)


def tell_bug() -> int:
    """A traceback, and whom to tell."""
    traceback.print_exc()
    print(
        f"error: this is a bug in sslcli {__version__} or in one of its plugins\n"
        "hint: please report it, with the lines above, the command you ran and the output of `sslcli plugins list`",
        file=sys.stderr,
    )
    return FAILED
