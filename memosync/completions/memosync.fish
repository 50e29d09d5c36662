# memosync in fish: the program itself says at each TAB what may stand there; nothing of that is evaluated.

function __memosync_offers
    set -l offered (_MEMOSYNC_COMPLETE=complete_offers _TYPER_COMPLETE_ARGS=(commandline -cp | string collect) memosync 2>/dev/null)
    set -l option (commandline -ct | string match -r -- '^--[^=]+='); or set option ''
    switch "$offered[1]"
        case \tfiles
            __fish_complete_path (commandline -ct)
        case \tdirectories
            __fish_complete_directories (commandline -ct)
        case '*'
            test -n "$offered"; and printf '%s\n' $option$offered
    end
end

complete --command memosync --no-files --keep-order --arguments "(__memosync_offers)"
