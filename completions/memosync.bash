_memosync_completion() {
    local IFS=$'
'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" \
                   COMP_CWORD=$COMP_CWORD \
                   _MEMOSYNC_COMPLETE=complete_bash $1 ) )
    return 0
}

complete -o default -F _memosync_completion memosync

# Typer answers with bare words: quote the spaces in a device's name.
_memosync_quoted() {
    local i
    _memosync_completion "$@"
    for i in "${!COMPREPLY[@]}"; do printf -v "COMPREPLY[$i]" %q "${COMPREPLY[$i]}"; done
}

complete -o default -F _memosync_quoted memosync
