# treehand for fish: `treehand cd NAME` goes to a workspace, anything else is the program's.
function treehand --description 'Fresh git worktrees for every task, merged back under control'
    set -l verb
    set -l value
    for word in $argv
        if set -q value[1]
            set -e value
            continue
        end
        switch $word
            case -C '-q*C' '-v*C' --set --color
                set value 1
            case '-*'
            case '*'
                set verb $word
                break
        end
    end
    if test "$verb" != cd
        command treehand $argv
        return
    end
    if test (count $argv) -eq 2; and test "$argv[2]" = -
        cd -
        return
    end
    # The answer ends in `/.`, so that no line feed at the end of a path is lost; help and documents do not.
    set -l lines (TREEHAND_CD=1 command treehand $argv)
    or return
    set -l answer (string join \n -- $lines | string collect)
    if string match --quiet --regex '(?s)\A/.*/\.\z' -- $answer
        cd -- $answer
    else
        printf '%s\n' $answer
    end
end
