"""What makes a function a command: the common options, the exit codes, the one line for bad input."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import sys
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command

from mfi_command import render
from mfi_command.config import option_defaults, read_settings
from mfi_command.errors import BadInput
from mfi_command.progress import progress, quiet
from mfi_command.report import Report, Table

__all__ = ["Model", "Report", "Seed", "Table", "command", "create_app", "entry_point", "progress"]

SCHEMA_VERSION = 1
OVER_LIMIT, BAD_INPUT, OUR_BUG = 1, 2, 101

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A folder (Hugging Face layout), a file (.safetensors .gguf .npz .bin), "
        "or 'reference', the bundled model.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")]

_COMMON: dict[str, Any] = {
    "json": Annotated[
        bool, typer.Option("--json", show_envvar=False, help="One JSON object on stdout, nothing else.")
    ],
    "output": Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            show_envvar=False,
            help=f"Write the answer: {' '.join(render.ENDINGS)}.",
        ),
    ],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", show_envvar=False, help="No progress, no notes.")],
    "verbose": Annotated[
        bool, typer.Option("--verbose", "-v", show_envvar=False, help="Log to stderr what is done.")
    ],
    "debug": Annotated[
        bool, typer.Option("--debug", show_envvar=False, help="Show the traceback of an error.")
    ],
}


class _Tool(typer.Typer):
    """A Typer application that knows its name and its distribution."""

    tool: str
    distribution: str


def create_app(tool: str, *, distribution: str, summary: str) -> _Tool:
    """A command-line application under the contract; `command` adds commands to it, `entry_point` runs it."""
    app = _Tool(
        name=tool, help=summary, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.tool, app.distribution = tool, distribution

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{tool} {installed_version(distribution)}")
            raise typer.Exit

    # A default, not an annotation: Typer reads annotations by name, and this callback has none outside.
    version = typer.Option(
        False, "--version", callback=show_version, is_eager=True, help="Print the version."
    )

    def root(version: bool = version) -> None:
        """Having a callback keeps a tool with one command a group."""

    app.callback(help=summary)(root)
    return app


def command(
    app: _Tool, name: str | None = None, *, examples: Sequence[str]
) -> Callable[[Callable[..., Report]], Callable[..., None]]:
    """Make a function that returns a `Report` a command of `app`, with the common options and exit codes.

    Parameters
    ----------
    app
        From `create_app`.
    name
        The command's name; the function's by default, with dashes for underscores.
    examples
        Whole command lines; `--help` ends in them.
    """

    def register(function: Callable[..., Report]) -> Callable[..., None]:
        title = name or function.__name__.replace("_", "-").strip("-")
        signature = inspect.signature(function)
        hints = typing.get_type_hints(function, include_extras=True)
        own = [parameter.replace(annotation=hints[key]) for key, parameter in signature.parameters.items()]
        added = {key: kind for key, kind in _COMMON.items() if key not in signature.parameters}

        @functools.wraps(function)
        def run(**options: Any) -> None:
            common = {key: options.pop(key) for key in added}
            with _errors(app.tool, debug=common["debug"]):
                _run(app, title, function, options, common)

        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + [
            inspect.Parameter(
                key,
                inspect.Parameter.KEYWORD_ONLY,
                default=None if key == "output" else False,
                annotation=kind,
            )
            for key, kind in added.items()
        ]
        run.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__  # typer would look through it and see the parameters of the function alone
        epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples)
        app.command(title, epilog=epilog)(run)
        return run

    return register


def _run(
    app: _Tool,
    title: str,
    function: Callable[..., Report],
    options: Mapping[str, Any],
    common: Mapping[str, Any],
) -> None:
    output: Path | None = common.get("output")
    if output is not None:
        render.check_ending(output)
    if common["verbose"]:
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(name)s: %(message)s")
    token = quiet.set(common["quiet"] or quiet.get())
    try:
        report = function(**options)
    finally:
        quiet.reset(token)
    payload = {
        "schema_version": SCHEMA_VERSION,
        "tool": app.tool,
        "version": installed_version(app.distribution),
        "command": title,
        "inputs": dict(options),
        **report.fields,
    }
    if output is not None:
        render.write(output, f"{app.tool} {title}", report, payload)
    if common["json"]:
        sys.stdout.write(render.to_json(payload))
    else:
        render.show(Report({}, report.tables) if common["quiet"] else report)
        if output is not None and not common["quiet"]:
            sys.stderr.write(f"wrote {output}\n")
    if report.over_limit is not None:
        _say(app.tool, report.over_limit)
        raise typer.Exit(OVER_LIMIT)


def _say(tool: str, message: str) -> None:
    sys.stderr.write(f"{tool}: {' '.join(message.split())}\n")


@contextlib.contextmanager
def _errors(tool: str, *, debug: bool) -> typing.Iterator[None]:
    """Turn an exception into one line and an exit code; with `debug` the traceback stands above the line."""

    def fail(code: int, message: str) -> typer.Exit:
        if debug:
            traceback.print_exc()
        _say(tool, message)
        return typer.Exit(code)

    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError:
        # The reader went away (`| head`): nothing is wrong, and Python must not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (BadInput, OSError) as error:
        raise fail(BAD_INPUT, f"error: {_in_words(error)}") from None
    except MemoryError:
        raise fail(BAD_INPUT, "error: this input needs more memory than there is") from None
    except Exception as error:
        words = f"bug: {type(error).__name__}: {error} (run again with --debug and send us the traceback)"
        raise fail(OUR_BUG, words) from None


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _known_names(group: Any) -> dict[str, Any]:
    """Commands and options of a command tree, in the nesting that a settings file has."""
    if hasattr(group, "commands"):
        return {name: _known_names(child) for name, child in group.commands.items()}
    return {parameter.name: None for parameter in group.params if parameter.name}


def entry_point(app: _Tool, *, other_sections: Sequence[str] = ()) -> Callable[[], NoReturn]:
    """The function that `[project.scripts]` names: settings read, usage errors in one line, exit code 2.

    `other_sections` are the tables of mfi.toml that belong to another program.
    """

    def main() -> NoReturn:
        tree = get_command(app)
        umbrella = app.tool == "mfi"
        try:
            settings = read_settings(Path.cwd())
            section = settings if umbrella else settings.get(app.tool, {})
            defaults = option_defaults(
                section, _known_names(tree), where="" if umbrella else app.tool, ignored=other_sections
            )
            code = tree.main(
                args=sys.argv[1:] or ["--help"],
                prog_name=app.tool,
                standalone_mode=False,
                auto_envvar_prefix="MFI" if umbrella else f"MFI_{app.tool}",
                default_map=defaults,
            )
        except BadInput as error:
            _say(app.tool, f"error: {error}")
            code = BAD_INPUT
        except typer.Abort:
            code = 130
        except Exception as error:
            # Typer's usage errors; its classes for them are not public, their `format_message` is.
            if not hasattr(error, "format_message"):
                raise
            message = error.format_message() or type(error).__name__
            _say(app.tool, f"error: {message} (see {app.tool} --help)")
            code = BAD_INPUT
        sys.exit(code or 0)

    return main
