"""The command line: one module per command, imported only when that command runs."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import logging
import os
import sys
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from edgeconv import __version__
from edgeconv.cli import interruption, kept, python_warnings, user_defaults
from edgeconv.cli.command_class import CommandGroup
from edgeconv.errors import NO_ROOM, EdgeconvError, room_hint
from edgeconv.log_lines import PrintableLines, show_warnings
from edgeconv.printable import without_middle
from edgeconv.report.output import (
    echo_json,
    echo_sentence,
    give_up_streams,
    is_of_printing,
    prepare_streams,
)

_COMPLETING = "_EDGECONV_COMPLETE"  # in the environment when a shell asks what Tab shall offer

COMMANDS = {
    "bench": "Measure the latency of model files on this machine or a board.",
    "blame": "List the layers that lose most in int8, and why.",
    "cache": "List or remove the results that sweeps keep.",
    "compare": "Compare two results: which files became faster or more accurate.",
    "cost": "Show what a network costs: parameters, MACs, memory, receptive field.",
    "devices": "Show what a device is and what runs there; start an emulated Raspberry Pi.",
    "doctor": "Look at this installation: what works, and what to do about the rest.",
    "evaluate": "Measure how well every file of a bundle does its task.",
    "export": "Export a network to verified ONNX and TFLite files.",
    "gate": "Fail if a file is significantly slower, larger or less accurate than a baseline.",
    "history": "List earlier measurements.",
    "inspect": "Show what is inside an ONNX or TFLite file.",
    "predict": "Run a file of a bundle on a picture, and print or draw what it sees.",
    "report": "Write one HTML page about bundles and results.",
    "models": "List the networks of the zoo.",
    "sweep": "Find the best of many networks, precisions and boards.",
    "verify": "Check a bundle's files against PyTorch again, from disk.",
}


class LazyGroup(CommandGroup):
    """A group that knows its commands by name and imports ``edgeconv.cli.<name>_command`` on use.

    Listing them only reads COMMANDS, which keeps ``edgeconv --help`` free of heavy imports.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, without importing any."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edgeconv.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What Tab offers in place of a command, without importing any."""
        named = [
            CompletionItem(name, help=text)
            for name, text in sorted(COMMANDS.items())
            if name.startswith(incomplete)
        ]
        return [*named, *super(click.Group, self).shell_complete(ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands for ``edgeconv --help``."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgeconv")
@click.option("--debug", is_flag=True, help="Show tracebacks and the libraries' own messages.")
@click.option(
    "--no-config",
    is_flag=True,
    envvar="EDGECONV_NO_CONFIG",
    help="Take no defaults from [tool.edgeconv] of a pyproject.toml; also EDGECONV_NO_CONFIG=1.",
)
@click.pass_context
def cli(ctx: click.Context, debug: bool, no_config: bool) -> None:
    """Export PyTorch networks to verified ONNX and TFLite files, and measure them on boards."""
    _set_up_logging(debug)
    if ctx.invoked_subcommand is not None and not no_config:
        assert isinstance(ctx.command, click.Group)
        user_defaults.apply(ctx, ctx.command, ctx.invoked_subcommand)


def _set_up_logging(debug: bool) -> None:
    """Show our own warnings and their hints on standard error; all else only if debugging."""
    level = logging.DEBUG if debug else logging.ERROR
    theirs = logging.StreamHandler()
    theirs.setLevel(level)  # the level of the root logger does not hold for loggers with their own
    theirs.setFormatter(PrintableLines("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[theirs])
    if debug:
        logging.getLogger("edgeconv").setLevel(logging.DEBUG)
    else:
        # huggingface_hub, by which timm loads weights, prints failed tries by its own handler.
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")
        show_warnings()
        python_warnings.show_only_the_users()


def main() -> NoReturn:
    """Run the command line; every failure becomes an error, a hint and an exit code."""
    debug = "--debug" in sys.argv[1:]
    interruption.watch()
    kept.forget()
    # Python looks for cycles in all that is left when it ends: 1.3 s for what an export leaves.
    atexit.register(gc.freeze)
    # PyTorch's threads otherwise spin while they wait, for which a busy machine has no core: what
    # takes 2 s of one core took 13 s of both. OpenMP reads it when PyTorch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    prepare_streams()
    if _COMPLETING in os.environ:
        importlib.import_module("edgeconv.cli.completions")
    try:
        # What ctx.exit() was given comes back as the result; a command's own result is None.
        code = cli.main(prog_name="edgeconv", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        _fail_usage(error, debug=debug)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted", code=1, debug=debug)
    except EdgeconvError as error:
        shown = error.after_result
        _fail(error.message, code=error.exit_code, debug=debug, hint=error.hint, after_result=shown)
    except BrokenPipeError:
        # The reader left (`| head`): leave quietly.
        give_up_streams()
        sys.exit(1)
    except OSError as error:
        if is_of_printing(error):
            _fail_to_print(error, debug=debug)
        at = error.filename2 or error.filename  # of a copy the first one is what is read
        where = f" ({at})" if at else ""
        _fail(f"{error.strerror or error}{where}", code=1, debug=debug, hint=_system_hint(error))
    except MemoryError:  # a network, or what a file claims to hold, is too large
        hint = "check the sizes that the files state, or take a machine with more memory"
        _fail("there is not enough memory", code=1, debug=debug, hint=hint)
    except ImportError as error:  # what edgeconv needs is missing, or broken
        hint = "`edgeconv doctor` says what does not work here, and what to do about it"
        _fail_unexpected(f"a package cannot be imported: {error}", debug=debug, hint=hint)
    except Exception as error:
        hint = f"report it with the output of --debug at {_issues_page()}"
        _fail_unexpected(f"internal: {type(error).__name__}: {error}", debug=debug, hint=hint)
    sys.exit(code or 0)


def _fail_unexpected(message: str, *, debug: bool, hint: str) -> NoReturn:
    """Print an error that libraries raise; some of them make one of an interruption."""
    if interruption.exit_code() is not None:
        message, hint = "interrupted", ""
    _fail(message, code=1, debug=debug, hint=hint)


def _fail_to_print(error: OSError, *, debug: bool) -> NoReturn:
    """Say that standard output took nothing more, and where the result is nevertheless."""
    said = f"standard output cannot be written: {error.strerror or error}"
    message = "; ".join(filter(None, (said, kept.sentence())))
    _fail(message, code=1, debug=debug, hint=room_hint(error, "send it elsewhere"))


def _system_hint(error: OSError) -> str:
    """What to do about an error of the system that no command has words of its own for."""
    if error.errno in NO_ROOM:
        return room_hint(error, "write elsewhere")
    if isinstance(error, PermissionError):
        return "check the permissions of that path, and of the folders above it"
    if isinstance(error, FileNotFoundError) and error.filename is None:
        return "the current folder may have been removed: change to another one"
    return ""


def _fail_usage(error: click.ClickException, *, debug: bool) -> NoReturn:
    """Print what click found wrong with the command line, as :func:`_fail` does."""
    # `edgeconv` without a command: click 8.2 and later raise its help as an error.
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()
        sys.exit(error.exit_code)
    message = " ".join(error.format_message().split()).removesuffix(".")
    message = message.replace(" is not a valid integer range", " is not a whole number")
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"see `{context.command_path} --help`" if context is not None else ""
    _fail(message[:1].lower() + message[1:], code=error.exit_code, debug=debug, hint=hint)


def _fail(
    message: str, *, code: int, debug: bool, hint: str = "", after_result: bool = False
) -> NoReturn:
    """Print the error and its hint on standard error; with --json, also on standard output.

    Standard output has one JSON document at most: none follows a result that was printed. Where a
    signal ended the command, the exit code is that signal's.
    """
    code = interruption.exit_code() or code
    if debug:
        logging.getLogger("edgeconv").exception("%s", message)
    message, hint = without_middle(message), without_middle(hint)
    with contextlib.suppress(OSError):  # what a full disk or a closed pipe does not take
        echo_sentence(f"error: {message}", err=True, color="red")
        if hint:
            echo_sentence(f"hint: {hint}", err=True)
    if not after_result:
        with contextlib.suppress(OSError):
            _print_json(message, hint, code)
    give_up_streams()
    sys.exit(code)


def _print_json(message: str, hint: str, code: int) -> None:
    """With --json, print the failure as a document."""
    if "--json" in sys.argv[1:]:
        from edgeconv.report.documents import Failure, FailureDocument

        echo_json(FailureDocument(error=Failure(message=message, hint=hint), exit_code=code))


def _issues_page() -> str:
    """The address of ``[project.urls]`` in pyproject.toml where faults are reported."""
    from importlib.metadata import metadata

    urls: list[str] = metadata("edgeconv").get_all("Project-URL") or []
    return next(url.removeprefix("Issues, ") for url in urls if url.startswith("Issues, "))
