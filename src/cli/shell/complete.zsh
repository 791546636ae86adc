#compdef treehand
# Completions of treehand for zsh. `treehand __complete` prints what to offer, then the words, each with what it is.
function _treehand {
    local answer line
    local -a lines values shown
    answer=$(command treehand __complete zsh -- "${(Q)PREFIX}" "${(@Q)words[2,CURRENT-1]}" 2>/dev/null) || return 1
    lines=("${(@f)answer}")
    case ${lines[1]-} in
        (words)
            shift lines
            for line in "${(@)lines}"; do
                values+=("${line%%$'\t'*}")
                if [[ -n ${line#*$'\t'} ]]; then
                    shown+=("${line%%$'\t'*}  -- ${line#*$'\t'}")
                else
                    shown+=("${line%%$'\t'*}")
                fi
            done
            (( ${#values} )) || return 1
            if [[ ${values[1]} == *= ]]; then
                compadd -S '' -l -d shown -a -- values
            else
                compadd -l -d shown -a -- values
            fi
            ;;
        (files) _files ;;
        (directories) _files -/ ;;
        (command) _default ;;
        (*) return 1 ;;
    esac
}
if [[ ${funcstack[1]-} == _treehand ]]; then
    _treehand "$@"
elif (( ${+functions[compdef]} )); then
    compdef _treehand treehand
fi
