# treehand for bash and zsh: `treehand cd NAME` goes to a workspace, anything else is the program's.
function treehand {
    local __treehand_word __treehand_verb='' __treehand_value='' __treehand_answer
    for __treehand_word in "$@"; do
        if [ -n "$__treehand_value" ]; then
            __treehand_value=''
            continue
        fi
        case $__treehand_word in
            -C | -[qv]*C | --set | --color) __treehand_value=1 ;;
            -*) ;;
            *)
                __treehand_verb=$__treehand_word
                break
                ;;
        esac
    done
    if [ "$__treehand_verb" != cd ]; then
        command treehand "$@"
        return
    fi
    if [ "$#" -eq 2 ] && [ "$2" = - ]; then
        builtin cd - || return
        return 0
    fi
    # The answer ends in `/.`, so that no line feed at the end of a path is lost; help and documents do not.
    __treehand_answer=$(TREEHAND_CD=1 command treehand "$@") || return
    case $__treehand_answer in
        /*/.) builtin cd -- "${__treehand_answer%/.}" || return ;;
        *) printf '%s\n' "$__treehand_answer" ;;
    esac
}
