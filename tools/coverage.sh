#!/usr/bin/env bash
# Measure which lines of slide/ the ordinary tests run. coverage counts the lines of Python files;
# gcov counts, in all threads, those of .pyx and .pxd files (without declarations) and of the C
# kernels.
#
#   tools/coverage.sh [FOLDER]    fails below 95 % of the Python or 85 % of the Cython lines;
#                                 leaves reports in FOLDER that show every line
#
# Works on a copy of the checkout's files, uncommitted changes included. $PYTHON is an interpreter
# that has slide's build requirements and the extras [test] and [coverage]; if it is not set, a
# fresh environment is made. Needs gcc and gcov.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
reports=$(realpath -m "${1:-$work/reports}")
mkdir -p "$reports"
source "$root/tools/scratch.sh"

run_tests() {
    copy coverage && build_for_gcov && "$python" -m coverage run -m pytest -q "${workers[@]}"
}

# A debug build names a line of a .pyx file once for all lines of C that follow. gcov would take
# these for the next lines of the .pyx file, so repeat the name before every line of C.
build_for_gcov() {
    SLIDE_DEBUG=1 "$python" setup.py --version > build.log 2>&1 || { tail -40 build.log; return 1; }
    local file
    for file in $(find build/cython-debug/slide -name '*.c'); do
        awk '/^#line / { line = /"slide\// ? $0 : "" }
             line != "" && !/^#/ && last !~ /\\$/ { print line }
             { print; last = $0 }' "$file" > lines.c && cp lines.c "$file"
    done
    build SLIDE_DEBUG=1 "CC=gcc --coverage -fprofile-update=atomic"
}

python_lines() {
    cd "$work/coverage" && "$python" -m coverage combine -q || return
    "$python" -m coverage html -q --directory "$reports/python"
    "$python" -m coverage report --fail-under 95
}

cython_lines() {
    lines 'p(yx|xd)' cython --fail-under-line 85
}

kernel_lines() {
    lines '[ch]' kernels
}

# gcovr takes Cython's functions for internal ones, and finds no source file of Cython's helpers.
lines() {
    cd "$work/coverage" || return
    "$python" -m gcovr --filter "slide/.*\.$1$" --include-internal-functions --merge-lines \
        --gcov-ignore-errors source_not_found --gcov-suspicious-hits-threshold 0 \
        --html-nested "$reports/$2.html" --txt - "${@:3}" build
}

prepare test,coverage
summary run_tests python_lines cython_lines kernel_lines
