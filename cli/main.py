"""`dlkit`: finds commands by file name, turns errors into one line and an exit status.

Exit status: 0 fine, 1 the work failed, 2 the call was wrong, 130 interrupted.
"""

from __future__ import annotations

import ast
import errno
import importlib
import os
import sys
from pathlib import Path

import click

COMMANDS = sorted(p.stem.removeprefix("cmd_") for p in Path(__file__).parent.glob("cmd_*.py"))


class Commands(click.Group):
    """Imports a command only when it is called; its one-line help is read off the file's docstring."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return COMMANDS

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"dlkit.cli.cmd_{name}").command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from dlkit.registry import nearest

            raise click.UsageError(
                f"no command {args[0]!r}{nearest(args[0], COMMANDS)}; commands: {', '.join(COMMANDS)}"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        folder = Path(__file__).parent
        rows = []
        for name in COMMANDS:
            text = ast.get_docstring(ast.parse((folder / f"cmd_{name}.py").read_text())) or ""
            rows.append((name, text.partition("\n")[0]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show where an error came from.")
@click.version_option(package_name="dlkit", prog_name="dlkit")
def cli(debug: bool) -> None:
    """A deep-learning toolkit built from first principles.

    \b
    Example:
      dlkit train                                    a small network on handwritten digits
      dlkit train --data photos/ --model resnet20    your own images, a folder for each class
    """


def main(args: list[str] | None = None) -> None:
    """Runs the command line and exits."""
    sys.exit(run(sys.argv[1:] if args is None else args))


def compilation() -> str | None:
    """What Numba has compiled since this was last asked, in a line."""
    jit = sys.modules.get("dlkit.jit")
    return None if jit is None else jit.compile_report()


def run(args: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    debug = "--debug" in args or os.environ.get("DLKIT_DEBUG") == "1"
    args = [a for a in args if a != "--debug"] or ["--help"]
    try:
        compilation()  # a program that runs several commands: what came before this one is not its own
        result = cli(args, standalone_mode=False, prog_name="dlkit")
        if (report := compilation()) is not None:
            click.echo(report, err=True)  # the user waited for that
        return result if isinstance(result, int) else 0
    except click.exceptions.Abort:
        click.echo("dlkit: interrupted", err=True)
        return 130
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        hint = f" (see {where.command_path} --help)" if where else ""
        click.echo(f"dlkit: {error.format_message()}{hint}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("dlkit: interrupted", err=True)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - or Python complains once more at exit
        return 1
    except Exception as error:
        if debug:
            raise
        from dlkit.errors import DlkitError

        if isinstance(error, DlkitError):
            click.echo(f"dlkit: {error}", err=True)
            return error.exit_code
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            click.echo(f"dlkit: the output cannot be written ({error.strerror})", err=True)
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            return 1
        if isinstance(error, MemoryError):
            click.echo("dlkit: not enough memory; try a smaller network, batch or image", err=True)
            return 1
        click.echo(f"dlkit: {type(error).__name__}: {error} (an error in dlkit itself; --debug shows where)", err=True)
        return 1
