"""
The command group, and the one place where an error becomes a sentence and an exit code.

A mistake of the user's or the operator's is one line on standard error, never a traceback. Exit
codes: 0 done, 1 it failed, 2 the command line could not be understood, 130 interrupted; `exec` has
its own table (`sanderling exec --help`).
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import sys
from collections.abc import Sequence

import click

from sanderling.cli import ask, demo, doctor, env, exec, keys, serve, setup
from sanderling.errors import SanderlingError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


class _Commands(click.Group):
    """Lists the commands in the order a newcomer meets them, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(self.commands)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `sanderling demo`; then `sanderling serve` and point any OpenAI SDK at it.",
)
@click.version_option(
    importlib.metadata.version("sanderling"), "--version", message="sanderling %(version)s"
)
def group() -> None:
    """The open, self-hosted Code Interpreter: any model, Python in sealed boxes on this machine."""


for command in (
    serve.serve,
    ask.ask,
    exec.exec_command,
    demo.demo,
    doctor.doctor,
    setup.setup,
    env.env,
    keys.keys,
    serve.settings_command,
):
    group.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line `arguments` (the process's own by default) and exit."""
    try:
        code = group.main(args=arguments, prog_name="sanderling", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SanderlingError as error:
        click.echo(error.message, err=True)
        sys.exit(EXIT_FAILED)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output left (`| head`): nobody is there to be told.
        _discard_output()
        sys.exit(EXIT_FAILED)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _discard_output()
        click.echo(f"The output cannot be written: {error.strerror}.", err=True)
        sys.exit(EXIT_FAILED)
    sys.exit(code if isinstance(code, int) else 0)


def _discard_output() -> None:
    """Send what is still in the buffer nowhere: the interpreter would complain as it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
