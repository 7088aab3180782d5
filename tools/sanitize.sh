#!/usr/bin/env bash
# The whole test suite with bounds checks and under sanitizers, HOGWILD fits under ThreadSanitizer.
#
#   tools/sanitize.sh             all of them; fails when any fails
#   tools/sanitize.sh NAME ...    bounds: tests, built with SLIDE_DEBUG=1
#                                 address: tests, with AddressSanitizer and UndefinedBehaviourSanitizer
#                                 thread: tools/hogwild.py, which lists the races that are meant
#
# Works on a copy of the checkout's files, as they are. $PYTHON is an interpreter that has what
# builds slide and the extra [test]; without it a fresh environment is made. Tests take turns on all
# processors where it has pytest-xdist. Wants Linux and gcc; "thread" also LLVM's OpenMP with
# libarcher (apt install libomp-dev), in $LLVM_LIB if not in /usr/lib/llvm-*/lib.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source "$root/tools/scratch.sh"

bounds() {
    build bounds SLIDE_DEBUG=1 && tests
}

address() {
    build address SLIDE_SANITIZE=address,undefined || return
    # The interpreter is not sanitized, so the runtime must be there before it. Leaks are not looked
    # for: Python and NumPy leave to the system what they hold at the end. A failed allocation is
    # a MemoryError, as without the sanitizer. Python's own allocator would hide its blocks' ends.
    LD_PRELOAD=$(gcc -print-file-name=libasan.so) \
        ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=1 \
        UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc tests -p tools.guard
}

thread() {
    local llvm=${LLVM_LIB:-$(dirname "$(ls /usr/lib/llvm-*/lib/libarcher.so 2> /dev/null | tail -1)")}
    if [[ ! -e $llvm/libarcher.so ]]; then echo "no libarcher.so: see the head of $0"; return 1; fi
    build thread SLIDE_SANITIZE=thread || return
    local set name status
    for set in $(python -c "from slide import _simd; print(*_simd.available())"); do
        echo "-- races that are meant, $set"
        hogwild "$llvm" "$set" || return
    done
    for name in $(python -c "from tools.hogwild import RACED; print(*RACED)"); do
        echo "-- as if '$name' must not be raced: must be seen"
        status=0
        hogwild "$llvm" "$set" "$name" > "$work/races.txt" 2>&1 || status=$?
        if [[ $status -ne 66 ]]; then tail "$work/races.txt"; echo "status $status"; return 1; fi
        grep -c 'WARNING: ThreadSanitizer: data race' "$work/races.txt"
    done
}

# LLVM's OpenMP stands in for gcc's, whose barriers ThreadSanitizer does not see: libarcher tells it
# of them. What is not instrumented, as Python and NumPy, is no witness.
hogwild() {
    LD_PRELOAD="$(gcc -print-file-name=libtsan.so) $1/libomp.so" SLIDE_SIMD=$2 OMP_NUM_THREADS=4 \
        OMP_TOOL_LIBRARIES=$1/libarcher.so TSAN_OPTIONS=exitcode=66:ignore_noninstrumented_modules=1 \
        python -m tools.hogwild "${@:3}"
}

prepare test
if [[ $# -eq 0 ]]; then set -- bounds address thread; fi
summary "$@"
