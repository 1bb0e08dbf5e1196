# Completion of lsmem in fish.
function _lsmem_completion
    set -l command (commandline -poc)[1]
    set -l response (env COMP_WORDS=(commandline -cp | string collect) \
        _LSMEM_COMPLETE=fish_complete $command 2>/dev/null)
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
complete --no-files --keep-order --command lsmem --arguments '(_lsmem_completion)'
