"""`broker completion SHELL`: the script that a shell loads. It asks `broker __complete`."""

from __future__ import annotations

from argparse import Namespace

from broker.cli import commands
from broker.cli.args import Parser, Verb, one_of
from broker.cli.call import Call
from broker.cli.diagnostics import Exit

BASH = """\
# broker completion for bash. Load it with: source <(broker completion bash)
_broker() {
    local line current words count
    _broker_words
    local IFS=$'\\n'
    COMPREPLY=()
    while read -r line; do
        if [[ $line == :files ]]; then
            compopt -o filenames 2>/dev/null
            COMPREPLY+=($(compgen -f -- "$current"))
        else
            COMPREPLY+=("$(printf %q "$line")")
        fi
    done < <(command broker __complete "${words[@]}" 2>/dev/null)
    _broker_trim
}
# bash splits words at ":" and "="; names may hold a ":", so the words are put together again.
_broker_words() {
    local typed=${COMP_LINE:0:COMP_POINT}
    read -r -a words <<<"$typed"
    words=("${words[@]:1}")
    current=
    if [[ $typed == *[[:space:]] ]]; then
        words+=("")
    else
        count=${#words[@]}
        ((count)) && current=${words[count-1]}
    fi
}
_broker_trim() {
    [[ $current == *:* && $COMP_WORDBREAKS == *:* ]] || return 0
    local prefix=${current%"${current##*:}"} i
    for i in "${!COMPREPLY[@]}"; do
        COMPREPLY[i]=${COMPREPLY[i]#"$prefix"}
    done
}
complete -F _broker broker
"""

ZSH = """\
#compdef broker
# broker completion for zsh. Load it with: source <(broker completion zsh)
_broker() {
    local -a found
    local line
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            _files
        else
            line=${line//:/\\\\:}
            found+=("${line/$'\\t'/:}")
        fi
    done < <(command broker __complete --help-lines "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( ${#found} )) && _describe broker found
}
compdef _broker broker
"""

FISH = """\
# broker completion for fish. Load it with: broker completion fish | source
function __broker_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (command broker __complete --help-lines $words[2..-1] 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c broker -f -a '(__broker_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "shell", type=one_of(commands.SHELLS), metavar="SHELL", help="bash, zsh or fish"
    )


def _run(call: Call, args: Namespace) -> Exit:
    call.out.exactly(SCRIPTS[args.shell])
    return Exit.DONE


COMPLETION = Verb(
    _arguments,
    _run,
    "bash: echo 'source <(broker completion bash)' >> ~/.bashrc\n"
    "zsh:  echo 'source <(broker completion zsh)' >> ~/.zshrc\n"
    "fish: broker completion fish > ~/.config/fish/completions/broker.fish",
)
