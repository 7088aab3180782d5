#!/usr/bin/env bash
# Run all tests with bounds checks and under sanitizers, and HOGWILD fits under ThreadSanitizer.
#
#   tools/sanitize.sh             all of them; fails when any fails
#   tools/sanitize.sh NAME ...    bounds: tests, built with SLIDE_DEBUG=1
#                                 address: tests, with Address- and UndefinedBehaviourSanitizer
#                                 thread: tools/hogwild.py, which lists the intended races
#
# Works on a copy of the checkout's files, uncommitted changes included. $PYTHON is an interpreter
# that has slide's build requirements and the extra [test]; if it is not set, a fresh environment is
# made. If it has pytest-xdist, the tests use all processors. Needs Linux and gcc; "thread" also
# needs LLVM's OpenMP with libarcher (apt install libomp-dev), in $LLVM_LIB or /usr/lib/llvm-*/lib.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source "$root/tools/scratch.sh"

bounds() {
    copy bounds && build SLIDE_DEBUG=1 && tests
}

address() {
    copy address && build SLIDE_SANITIZE=address,undefined || return
    # The interpreter is not sanitized, so the runtime must be loaded before it. Leaks are not
    # reported, because Python and NumPy do not free everything at the end. A failed allocation is a
    # MemoryError, as without the sanitizer. PYTHONMALLOC: Python's own allocator would hide where
    # blocks end. Findings go to files: pytest swallows the output of a process that ends at once.
    # The C++ library must be loaded first too, or exceptions in other modules count as errors.
    local status=0 options="log_path=$PWD/found"
    local address=detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=1
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" \
        ASAN_OPTIONS=$options:$address \
        UBSAN_OPTIONS=$options:print_stacktrace=1 PYTHONMALLOC=malloc \
        PYTEST_PLUGINS=tools.guard tests || status=$?
    if compgen -G "found.*" > /dev/null; then
        head -n 40 found.*
        status=1
    fi
    return "$status"
}

thread() {
    local llvm=${LLVM_LIB:-}
    if [[ -z $llvm ]]; then
        llvm=$(dirname "$(compgen -G "/usr/lib/llvm-*/lib/libarcher.so" | tail -1)")
    fi
    if [[ ! -e $llvm/libarcher.so || ! -e $llvm/libomp.so ]]; then
        echo "no libarcher.so and libomp.so in $llvm: see the head of tools/sanitize.sh"
        return 1
    fi
    copy thread && build SLIDE_SANITIZE=thread || return
    local sets set names name status
    sets=$(watched -c "from slide._simd import dispatch; print(*dispatch.available())") || return
    names=$(watched -c "from tools.hogwild import RACED; print(*RACED)") || return
    for set in $sets; do
        echo "-- $set: no races but those that are meant"
        SLIDE_SIMD=$set watched -m tools.hogwild || return
    done
    for name in $names; do
        status=0
        watched -m tools.hogwild "$name" > races.txt 2>&1 || status=$?
        echo "-- '$name' had better not be raced: $(grep -c 'WARNING: ThreadSani' races.txt) races"
        if [[ $status -ne 66 ]]; then tail races.txt; return 1; fi
    done
}

# Run Python under ThreadSanitizer; the exit status is 66 if it saw a race. LLVM's OpenMP replaces
# gcc's, whose barriers ThreadSanitizer does not know; libarcher tells it about LLVM's barriers.
# Code that is not instrumented, such as Python and NumPy, is ignored.
watched() {
    LD_PRELOAD="$(gcc -print-file-name=libtsan.so) $llvm/libomp.so" OMP_NUM_THREADS=4 \
        OMP_TOOL_LIBRARIES=$llvm/libarcher.so \
        TSAN_OPTIONS=exitcode=66:ignore_noninstrumented_modules=1 "$python" "$@"
}

prepare test
if [[ $# -eq 0 ]]; then set -- bounds address thread; fi
summary "$@"
