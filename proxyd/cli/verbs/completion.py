"""`proxyd completion`: what makes a shell complete our commands. The scripts ask the program itself at each TAB, in the words of click
(click.shell_completion): a line, or three for zsh, for each thing that may come next. They are our own, because click's replace a whole
`--option=value` by the value (zsh), offer nothing there (bash, fish), and lose their way behind a `:` (bash)."""
from __future__ import annotations

import click

from proxyd.cli.settings import common

# Readline's words end at `:` and `=`, too; so the line is told as it was typed, and that its last word (-1) is the one to complete. Quotes
# behind it make that word an empty one after a space, and change nothing else.
BASH = """\
_proxyd_completion() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(COMP_WORDS="${COMP_LINE:0:COMP_POINT}''" COMP_CWORD=-1 _PROXYD_COMPLETE=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F _proxyd_completion proxyd
"""

# As a file of $fpath, called _proxyd, it is the body of a function of that name, which its first call replaces by the one in it.
ZSH = """\
#compdef proxyd
_proxyd() {
    local type value help
    local -a answer plain described
    (( $+commands[proxyd] )) || return 1
    answer=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) _PROXYD_COMPLETE=zsh_complete proxyd 2>/dev/null)}")
    [[ ${words[CURRENT]} == --*=* ]] && compset -P '*='
    for type value help in "${answer[@]}"; do
        case $type in
            plain) [[ $help == _ ]] && plain+=("$value") || described+=("$value:$help") ;;
            file) _files ;;
            dir) _files -/ ;;
        esac
    done
    (( $#described )) && _describe -V proxyd described
    (( $#plain )) && compadd -V proxyd -a plain
}
if [[ $funcstack[1] == _proxyd ]]; then
    _proxyd "$@"
else
    compdef _proxyd proxyd
fi
"""

FISH = """\
function _proxyd_completion
    set -l token (commandline -t)
    set -l option (string match -r -- '^--[^=]+=' $token)
    for line in (COMP_WORDS=(commandline -cp) COMP_CWORD="$token" _PROXYD_COMPLETE=fish_complete proxyd 2>/dev/null)
        set -l parts (string split --max 1 , -- $line)
        switch $parts[1]
            case plain
                echo "$option$parts[2]"
            case file
                __fish_complete_path (string replace -- "$option" '' $token) | string replace -r -- '^' "$option"
            case dir
                __fish_complete_directories (string replace -- "$option" '' $token) | string replace -r -- '^' "$option"
        end
    end
end
complete --no-files --command proxyd --arguments '(_proxyd_completion)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@click.command("completion", short_help="a script for the shell: bash, zsh, fish")
@common
@click.argument("shell", type=click.Choice(tuple(SCRIPTS)))
def command(shell: str) -> None:
    """Print the script that makes a shell complete proxyd's commands and options.

    \b
        bash:  echo 'source <(proxyd completion bash)' >> ~/.bashrc
        zsh:   echo 'source <(proxyd completion zsh)' >> ~/.zshrc
        fish:  proxyd completion fish > ~/.config/fish/completions/proxyd.fish
    """
    print(SCRIPTS[shell], end="")
