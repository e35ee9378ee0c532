"""What shells run to complete ``dbx``: they ask the program itself, word by word."""

from __future__ import annotations

QUESTION = "__complete"
"""The hidden command that is asked: ``dbx __complete KIND WORD... BEGUN``."""

BASH = r"""# Completion of dbx for bash.
_dbx_complete() {
    local IFS=$'\n' cur words=() answer line paths=
    # bash parts words at = and :, which values may hold; they are joined here again.
    local text=${COMP_LINE:0:COMP_POINT}
    mapfile -t answer < <("${COMP_WORDS[0]}" __complete bash "$text" 2>/dev/null)
    COMPREPLY=()
    for line in "${answer[@]}"; do
        case $line in
            :files) paths=-f ;;
            :folders) paths=-d ;;
            *) COMPREPLY+=("$line") ;;
        esac
    done
    if [[ -n $paths ]]; then
        cur=${COMP_WORDS[COMP_CWORD]}
        [[ $cur == "=" ]] && cur=
        local lead=
        [[ $cur == @* ]] && lead=@ cur=${cur#@}
        mapfile -t words < <(compgen $paths -- "$cur")
        compopt -o filenames 2>/dev/null
        COMPREPLY+=("${words[@]/#/$lead}")
    elif [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _dbx_complete dbx eventdbx
"""

ZSH = r"""#compdef dbx eventdbx
# Completion of dbx for zsh.
_dbx() {
    local -a answer described plain
    local line value about paths=
    answer=("${(@f)$("${words[1]}" __complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${answer[@]}"; do
        case $line in
            (:files) paths=files ;;
            (:folders) paths=folders ;;
            ('') ;;
            (*$'\t'*)
                value=${line%%$'\t'*}
                about=${line#*$'\t'}
                described+=("${value//:/\\:}:$about") ;;
            (*) plain+=("$line") ;;
        esac
    done
    (( $#described )) && _describe -V 'dbx' described
    (( $#plain )) && compadd -- "${plain[@]}"
    if [[ $paths == files ]]; then
        compset -P '*='
        compset -P '@'
        _files
    elif [[ $paths == folders ]]; then
        compset -P '*='
        _files -/
    fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _dbx "$@"
else
    compdef _dbx dbx eventdbx
fi
"""

FISH = r"""# Completion of dbx for fish.
function __dbx_complete
    set -l words (commandline -opc)
    set -l begun (commandline -ct)
    test (count $begun) -eq 0; and set begun ''
    set -l program $words[1]
    for line in ($program __complete fish $words[2..-1] $begun 2>/dev/null)
        switch $line
            case :files :folders
                # A path may be glued to its option, or follow @: fish wants all of the word.
                set -l lead (string match -r -- '^(?:-[^=]*=)?@?' $begun)
                set -l path (string replace -r -- '^(?:-[^=]*=)?@?' '' $begun)
                set -l ask __fish_complete_path
                test $line = :folders; and set ask __fish_complete_directories
                for one in ($ask $path)
                    echo "$lead$one"
                end
            case '*'
                echo $line
        end
    end
end
complete -c dbx -f -a '(__dbx_complete)'
complete -c eventdbx -f -a '(__dbx_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
