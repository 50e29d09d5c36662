# memosync in bash: the program itself says at each TAB what may stand there; nothing of that is evaluated.

_memosync() {
    local IFS=$'\n' line word typed inserted offered=() shown=()
    local before=${COMP_LINE:0:COMP_POINT}
    COMPREPLY=()
    mapfile -t offered < <(_MEMOSYNC_COMPLETE=complete_offers _TYPER_COMPLETE_ARGS=$before "$1" 2>/dev/null)
    case ${offered[0]} in
        $'\tfiles') compopt -o default; return ;;
        $'\tdirectories') compopt -o dirnames; return ;;
    esac
    # readline replaces what stands behind the last : or = alone
    typed=${before##*[[:space:]]} inserted=
    [[ -n $2 && $typed == *"$2" ]] && inserted=${typed%"$2"}
    for line in "${offered[@]}"; do
        word=${line%%$'\t'*} word=${word#"$inserted"}
        case ${COMP_WORDS[COMP_CWORD]} in
            [\"\']*) [[ $word == *[\"\'\`\$\\!]* ]] && continue ;; # in quotes these could not be quoted
            *) printf -v word %q "$word" ;;
        esac
        COMPREPLY+=("$word")
        [[ ${line#*$'\t'} ]] && word+="  (${line#*$'\t'})"
        shown+=("${word:0:${COLUMNS:-80}-2}")
    done
    # of several, with what they are: of those nothing is inserted but what they begin with
    ((${#shown[@]} > 1 && COMP_TYPE != 37 && COMP_TYPE != 42)) && COMPREPLY=("${shown[@]}")
}

complete -o nosort -F _memosync memosync
