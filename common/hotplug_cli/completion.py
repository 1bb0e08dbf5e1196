"""Completion in bash, zsh and fish: click's, with values after ``=`` and comma-separated lists.

The script of a shell runs the command itself with ``_NAME_COMPLETE`` in its environment. What can
be offered for a value is defined at each option (click's ``shell_complete``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from hotplug_cli.click_command import GetoptCommand

_BASH = """\
# Completion of %(prog_name)s in bash 4.4 and later.
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_WORDS="${COMP_LINE:0:COMP_POINT}" %(complete_var)s=bash_complete "$1" 2>/dev/null)
    if [[ ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = """\
#compdef %(prog_name)s
# Completion of %(prog_name)s in zsh.
%(complete_func)s() {
    local -a response values shown
    local type value help
    response=("${(@f)$(COMP_WORDS="${(j: :)words[1,CURRENT]}" %(complete_var)s=zsh_complete \\
        ${words[1]} 2>/dev/null)}")
    for type value help in ${response}; do
        case $type in
            plain)
                values+=("$value")
                [[ $help == _ ]] && shown+=("$value") || shown+=("$value  -- $help")
                ;;
            dir) compset -P 1 '*='; _path_files -/ ;;
            file) compset -P 1 '*='; _path_files ;;
        esac
    done
    if (( $#values )); then
        local -a ending
        [[ $values[1] == *= ]] && ending=(-S '')
        compadd -U -l -V unsorted "${ending[@]}" -d shown -a values
    fi
}
%(complete_func)s "$@"
"""

_FISH = """\
# Completion of %(prog_name)s in fish.
function %(complete_func)s
    set -l command (commandline -poc)[1]
    set -l response (env COMP_WORDS=(commandline -cp | string collect) \\
        %(complete_var)s=fish_complete $command 2>/dev/null)
    for completion in $response
        set -l found (string split -m 1 , -- $completion)
        switch $found[1]
            case dir
                __fish_complete_directories (string replace -r '^.*=' '' -- (commandline -ct))
            case file
                __fish_complete_path (string replace -r '^.*=' '' -- (commandline -ct))
            case plain
                echo $found[2]
        end
    end
end
complete --no-files --keep-order --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


class _Asked(ShellComplete):
    """Completion for a script that passes the command line up to the cursor as one line."""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("COMP_WORDS", "")
        words = split_arg_string(line)
        incomplete = "" if line[-1:].isspace() or len(words) < 2 else words.pop()
        return words[1:], incomplete

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        joined = ""
        if incomplete.startswith("--") and "=" in incomplete and "--" not in args:
            joined = incomplete.partition("=")[0] + "="
        command = self.cli
        if isinstance(command, click.Group) and args:
            command = command.commands.get(args[0], command)
        if isinstance(command, GetoptCommand) and args and "--" not in args:
            args = [*args[:-1], command.table.expecting(args[-1])]
        self.ctx_args = {**self.ctx_args, "obj": Typed(bool(joined))}
        return [
            CompletionItem(
                joined + item.value if item.type == "plain" else item.value, item.type, item.help
            )
            for item in super().get_completions(args, incomplete)
        ]


@dataclass(frozen=True, slots=True)
class Typed:
    """The context's object while a shell asks for completion."""

    joined: bool
    """Whether the value follows the ``=`` of its option."""


class _Bash(_Asked, BashComplete):
    source_template = _BASH

    def source(self) -> str:
        # click's method runs bash to find its version, and warns about an old one.
        return ShellComplete.source(self)

    def format_completion(self, item: CompletionItem[str]) -> str:
        # For bash, the text after a = is a word of its own.
        option, _, value = item.value.partition("=")
        if item.type == "plain" and option.startswith("--") and value:
            return f"plain,{value}"
        return f"{item.type},{item.value}"


class _Zsh(_Asked, ZshComplete):
    source_template = _ZSH

    def format_completion(self, item: CompletionItem[str]) -> str:
        return f"{item.type}\n{item.value or '_'}\n{item.help or '_'}"


class _Fish(_Asked, FishComplete):
    source_template = _FISH


SHELLS: Mapping[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def answer(command: click.Command, name: str, instruction: str) -> int:
    """Print the completions that a shell asks for, or its script; return the exit status."""
    shell, _, what = instruction.partition("_")
    if shell not in SHELLS or what not in ("complete", "source"):
        return 1
    asked = SHELLS[shell](command, {}, name, variable(name))
    click.echo(asked.source() if what == "source" else asked.complete(), nl=what == "complete")
    return 0


def variable(name: str) -> str:
    """The environment variable with which a shell asks for completions."""
    return f"_{name.upper()}_COMPLETE"
