# Completions of treehand for bash. `treehand __complete` prints what to offer, then the words, quoted already.
function _treehand {
    local -a lines=()
    COMPREPLY=()
    mapfile -t lines < <(command treehand __complete bash -- "${2-}" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    case ${lines[0]-} in
        words) COMPREPLY=("${lines[@]:1}") ;;
        files | command) compopt -o bashdefault -o default ;;
        directories) compopt -o dirnames ;;
    esac
    # A key is followed by its value.
    case ${COMPREPLY[0]-} in
        *=) compopt -o nospace ;;
    esac
    return 0
}
complete -F _treehand treehand
