# Functions for sanitize.sh and coverage.sh, which set $root (checkout) and $work (scratch folder).

if [[ -z ${SLIDE_DATA:-} && -d $root/../shared/data ]]; then
    SLIDE_DATA=$(cd "$root/../shared/data" && pwd)
    export SLIDE_DATA
fi
export PIP_QUIET=1 PIP_DISABLE_PIP_VERSION_CHECK=1
renice -n 19 $$ > /dev/null

# Set $python to $PYTHON, or to the interpreter of a fresh environment with slide's build
# requirements and the extras $1.
prepare() {
    python=$("${PYTHON:-python3}" -c "import sys; print(sys.executable)") || exit
    if [[ -z ${PYTHON:-} ]]; then
        "$python" -m venv "$work/venv" || exit
        python=$work/venv/bin/python
        cd "$root" && "$python" - "$1" > "$work/packages.txt" <<'END' || exit
import sys, tomllib

with open("pyproject.toml", "rb") as file:
    settings = tomllib.load(file)
project = settings["project"]
print(*settings["build-system"]["requires"], *project["dependencies"], "pytest-xdist", sep="\n")
for extra in sys.argv[1].split(","):
    print(*project["optional-dependencies"][extra], sep="\n")
END
        "$python" -m pip install --requirement "$work/packages.txt" || exit
    fi
    workers=()
    if "$python" -c "import xdist" 2> /dev/null; then workers=(-n "$(nproc)"); fi
}

# Copy the checkout to a new folder $1, and change to it.
copy() {
    mkdir "$work/$1" && cd "$root" || return
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$work/$1"
    cd "$work/$1" && export PYTHONPATH=$PWD
}

# Build in the current folder, with the settings $@.
build() {
    env "$@" "$python" setup.py build_ext --inplace -j "$(nproc)" > build.log 2>&1 \
        || { tail -40 build.log; return 1; }
    # Python must not find another slide first. Only look it up: an import may fail.
    "$python" -c "from importlib.util import find_spec as find
assert find('slide').origin == '$PWD/slide/__init__.py', find('slide').origin"
}

tests() {
    "$python" -m pytest -q "${workers[@]}" "$@"
}

# Run the functions named in $@, each in a shell of its own, and print how each one ended.
summary() {
    local name status=0 lines=()
    for name in "$@"; do
        echo "== $name"
        SECONDS=0
        if ("$name"); then
            lines+=("$name: well, $SECONDS s")
        else
            lines+=("$name: FAILED, $SECONDS s")
            status=1
        fi
    done
    printf '== %s\n' "${lines[@]}"
    exit "$status"
}
