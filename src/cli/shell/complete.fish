# Completions of treehand for fish. `treehand __complete` prints what to offer, then the words, each with what it is.
function __treehand_complete
    set -l before (commandline --tokenize --current-process --cut-at-cursor)
    set -l typed (commandline --current-token --cut-at-cursor)
    # What is still within quotes cannot be read yet.
    set -l current (string unescape -- $typed)
    or set current (string trim --left --chars '"\'' -- $typed)
    set -l lines (command treehand __complete fish -- "$current" $before[2..] 2>/dev/null)
    switch "$lines[1]"
        case words
            printf '%s\n' $lines[2..]
        case files
            __fish_complete_path $current
        case directories
            __fish_complete_directories $current
        case command
            __fish_complete_path $current
    end
end
complete --command treehand --no-files --arguments '(__treehand_complete)'
