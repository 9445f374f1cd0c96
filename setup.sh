#!/usr/bin/env bash
# Makes the Python environment of this checkout and hands over to `lab`, which does all the rest.
# It can be run again at any time: what is there and right is left alone, what is half done is done again.
# Written for bash 3.2 (macOS) and later; it keeps to what any POSIX shell with `local` knows.
set -u
unset CDPATH PYTHONHOME PYTHONPATH

NAME=vm-to-kubernetes
STAMP="lab-stamp" # in the environment: written last, removed first
PYTHONS="python3.14 python3.13 python3.12 python3.11 python3 python"
NEED_MIB=1500 # the environment takes about 800, and as much again while it is unpacked
MACHINE=3     # the exit codes of `lab`: 2 usage, 3 environment, 130 interrupted

usage() {
    cat << 'END'
Usage: ./setup.sh [--yes]                 set up everything and open the course
       ./setup.sh [--yes] test [--full]   set up everything and run all tests

  --yes    install what is missing without asking (so does CI=true)
  --full   the tests that take long as well
  --help   this text

It can be run again at any time. Environment: LAB_OFFLINE=1 forbids the network; proxies (https_proxy), extra
certificates (SSL_CERT_FILE) and pip's own settings (PIP_INDEX_URL, ...) are honoured.
END
}

say() { printf '%s\n' "$*"; }

# The end, with one message: what happened, and what to do.
stop() {
    [ "$terminal" = no ] || printf '\r\033[K' >&2
    printf '\n%s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit $MACHINE
}

misuse() {
    printf '%s\n\n' "$1" >&2
    usage >&2
    exit 2
}

# --- The surroundings ------------------------------------------------------------------------------------------------

check_surroundings() {
    case $(uname -s) in
        MINGW* | MSYS* | CYGWIN*) stop "Windows itself cannot run this course; its Linux can." \
            "Install WSL 2 (in PowerShell: wsl --install), clone this repository there and run ./setup.sh again." ;;
    esac
    case $root in
        *:*) stop "The path of this checkout has a colon in it: $root" \
            "Programs are searched in lists that colons divide. Move the checkout and run ./setup.sh again." ;;
    esac
    # Only writing tells: a file system that is mounted read-only refuses root as well.
    if ! { mkdir -p "$state" && : > "$state/.writable" && rm -f "$state/.writable"; } 2> /dev/null; then
        stop "This checkout cannot be written to: $root" \
            "The course keeps its environment and your work in it. Clone it to a folder of your own, or give yourself" \
            "the right to write there, and run ./setup.sh again."
    fi
}

check_disk() {
    local free
    free=$(df -Pk "$root" 2> /dev/null | awk '{ for (i = 4; i <= NF; i++) if ($i ~ /^[0-9]+%$/) print int($(i - 1) / 1024) }')
    case $free in '' | *[!0-9]*) return ;; esac
    [ "$free" -ge $NEED_MIB ] || stop "There is too little room on the disk of $root: $free MiB are free." \
        "The Python environment alone takes up to $NEED_MIB MiB. Make room and run ./setup.sh again."
}

# One setup at a time in a checkout. A lock that its holder left behind (kill -9, power cut) does not count.
take_lock() {
    local holder
    if ! mkdir "$state/setup.lock" 2> /dev/null; then
        holder=$(cat "$state/setup.lock/pid" 2> /dev/null)
        if [ -n "$holder" ] && kill -0 "$holder" 2> /dev/null; then
            stop "Another ./setup.sh is at work in this checkout (process $holder)." \
                "Wait for it, or end it with: kill $holder"
        fi
        mkdir -p "$state/setup.lock"
    fi
    echo $$ > "$state/setup.lock/pid"
    locked=yes
}

leave() {
    [ "$locked" = no ] || rm -rf "$state/setup.lock"
    locked=no
}

interrupted() {
    printf '\n%s\n' "Interrupted. Run ./setup.sh again: it starts from what is complete." >&2
    exit 130
}

# --- An environment that is there ------------------------------------------------------------------------------------

# What an environment that is complete and of today says about itself. $1: its python
wanted_stamp() {
    say "checkout $root"
    say "lock $(cat requirements.lock pyproject.toml | cksum)"
    say "python $("$1" -ISc 'import sys; print(sys.executable, *sys.version_info[:3])' 2> /dev/null)"
}

# Is the environment $1 complete, and of today?
is_complete() { [ -x "$1/bin/lab" ] && [ "$(cat "$1/$STAMP" 2> /dev/null)" = "$(wanted_stamp "$1/bin/python")" ]; }

# Was it complete for this checkout and this Python, with an older lock?
is_outdated() {
    [ -x "$1/bin/lab" ] && [ -f "$1/$STAMP" ] &&
        [ "$(grep -v '^lock ' "$1/$STAMP")" = "$(wanted_stamp "$1/bin/python" | grep -v '^lock ')" ]
}

seal() {
    wanted_stamp "$1/bin/python" > "$1/$STAMP"
    printf '%s\n' "$1" > "$state/environment"
    environment=$1
}

find_environment() {
    environment=$(cat "$state/environment" 2> /dev/null)
    [ -n "$environment" ] && [ -d "$environment" ] || environment=$root/.venv
}

# --- Running long commands -------------------------------------------------------------------------------------------

# Run a command, all it says into the log; on a terminal its newest line is shown meanwhile. $1: what it is about
quietly() {
    local what code
    what=$1
    shift
    { printf '\n[%s] %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$*" && : > "$state/.code"; } >> "$log"
    if [ "$terminal" = yes ]; then
        { "$@" < /dev/null; echo $? > "$state/.code"; } 2>&1 | while IFS= read -r line; do
            printf '%s\n' "$line" >> "$log"
            printf '\r\033[K  %s: %.60s' "$what" "$line"
        done
        printf '\r\033[K'
    else
        # A subshell: Ctrl-C would otherwise speak into the log as well.
        ("$@" < /dev/null; echo $? > "$state/.code") >> "$log" 2>&1
    fi
    code=$(cat "$state/.code")
    rm -f "$state/.code"
    [ "${code:-1}" -lt 128 ] || printf '%s was killed (signal %s)\n' "$1" $((code - 128)) >> "$log"
    return "${code:-1}"
}

last_lines() { grep -v '^ *$' "$log" | tail -n "$1" | cut -c 1-160; }

# --- Python ----------------------------------------------------------------------------------------------------------

# Sets `python` to the newest interpreter that serves ($1: with the modules that must be importable), else to nothing.
find_python() {
    local name path
    python=
    seen=
    for name in $PYTHONS; do
        path=$(command -v "$name" 2> /dev/null) || continue
        # Without Apple's command line tools this one is a stub that opens a dialog; with them it is too old.
        [ "$(uname -s)" = Darwin ] && [ "$path" = /usr/bin/python3 ] && continue
        seen="$seen $name $("$path" -ISc 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2> /dev/null || echo 'does not run');"
        if "$path" -Ic "import sys, $1; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))" > /dev/null 2>&1; then
            python=$path
            return
        fi
    done
}

no_python() {
    local how
    case $(uname -s) in
        Darwin) how="brew install python@3.13" ;;
        *) if command -v apt-get > /dev/null; then how="sudo apt-get install python3 python3-venv   (Debian 12, Ubuntu 24.04 and later)"
            elif command -v dnf > /dev/null; then how="sudo dnf install python3.13"
            elif command -v pacman > /dev/null; then how="sudo pacman -S python"
            else how="your system's package of Python 3.11 or later"; fi ;;
    esac
    stop "This course needs Python 3.11 to 3.14, and none was found here." \
        "Found:${seen:- nothing by the names $PYTHONS}" \
        "Install one: $how" \
        "or install the program \`uv\`, which brings a Python of its own, and run ./setup.sh again."
}

# Debian and Ubuntu ship Python without the part that makes environments.
need_venv_module() {
    local package as_root
    find_python "venv, ensurepip, ssl, sqlite3, ctypes"
    [ -n "$python" ] && return
    find_python "ssl, sqlite3, ctypes"
    [ -n "$python" ] || no_python
    command -v apt-get > /dev/null || stop "The Python $python lacks the modules venv and ensurepip." \
        "Install the package of your system that holds them, and run ./setup.sh again."
    package=$("$python" -ISc 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    [ "$(id -u)" = 0 ] && as_root= || as_root=sudo
    if [ -z "$offline" ] && { [ -z "$as_root" ] || command -v sudo > /dev/null; } && agreed "Install the package $package?"; then
        say "Installing $package ..."
        # shellcheck disable=SC2016  # $1 is the inner shell's
        quietly "apt-get" $as_root env DEBIAN_FRONTEND=noninteractive sh -c \
            'apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$1" ||
             { apt-get -o DPkg::Lock::Timeout=300 update && apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$1"; }' \
            sh "$package" && printf '{"packages":["%s"]}\n' "$package" >> "$state/installed.jsonl"
        find_python "venv, ensurepip, ssl, sqlite3, ctypes"
        [ -n "$python" ] && return
        say "That did not work:"
        last_lines 3
    fi
    stop "The Python $python cannot make environments: the package $package is missing." \
        "Install it: sudo apt-get install $package" "and run ./setup.sh again."
}

agreed() {
    local answer
    [ "$yes" = no ] || return 0
    [ -t 0 ] && [ "$terminal" = yes ] || return 1
    printf '%s [Y/n] ' "$1"
    read -r answer || return 1
    case $answer in '' | [yY]*) return 0 ;; *) return 1 ;; esac
}

# --- Three ways to an environment ------------------------------------------------------------------------------------

# What pip was told, uv is told as well, and the other way round.
share_settings() {
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off PIP_USER=0 UV_NO_PROGRESS=1 UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1
    local bundle=${SSL_CERT_FILE:-${REQUESTS_CA_BUNDLE:-${PIP_CERT:-}}}
    [ -z "$bundle" ] || export SSL_CERT_FILE="$bundle" PIP_CERT="${PIP_CERT:-$bundle}"
    [ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
    [ -z "${PIP_EXTRA_INDEX_URL:-}" ] || export UV_INDEX="${UV_INDEX:-$PIP_EXTRA_INDEX_URL}"
    [ -z "${PIP_FIND_LINKS:-}" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$PIP_FIND_LINKS}"
}

# The packages of the lock, each checked against its hash, then this checkout itself. $@: the installer
install_locked() {
    quietly "packages" "$@" --require-hashes -r requirements.lock &&
        quietly "lab_helpers" "$@" --no-deps --no-build-isolation --editable .
}

excuse() { say "$1 could not make it ($(last_lines 1)); going on without $1."; }

with_conda() {
    local conda prefix owner
    for conda in mamba conda micromamba; do command -v $conda > /dev/null && break; done
    command -v $conda > /dev/null || return 1
    prefix=$($conda run -n $NAME python -c 'import sys; print(sys.prefix)' 2> /dev/null | tail -n 1)
    owner=$(sed -n 's/^checkout //p' "${prefix:-/nowhere}/$STAMP" 2> /dev/null)
    if [ -n "$owner" ] && [ "$owner" != "$root" ] && [ -d "$owner" ]; then
        say "The $conda environment $NAME belongs to the checkout in $owner; this one gets a .venv of its own."
        return 1
    fi
    if [ -z "$prefix" ]; then
        say "Making the environment $NAME with $conda (a few minutes) ..."
        case $conda in
            micromamba) set -- create --yes --file environment.yml ;;
            *) set -- env create --file environment.yml ;;
        esac
        if ! CONDA_ALWAYS_YES=true MAMBA_ALWAYS_YES=true quietly "$conda" $conda "$@"; then
            excuse $conda
            return 1
        fi
        prefix=$($conda run -n $NAME python -c 'import sys; print(sys.prefix)' 2> /dev/null | tail -n 1)
    fi
    [ -x "$prefix/bin/python" ] || return 1
    rm -f "$prefix/$STAMP"
    install_locked "$prefix/bin/python" -m pip install || { excuse $conda; return 1; }
    seal "$prefix"
}

with_uv() {
    local venv=$root/.venv
    command -v uv > /dev/null && uv --version > /dev/null 2>&1 || return 1
    if is_outdated "$venv"; then
        say "Bringing the Python environment up to date ..."
        rm -f "$venv/$STAMP"
    else
        find_python "ssl, sqlite3, ctypes"
        say "Making the Python environment in .venv with uv (seconds to a few minutes) ..."
        rm -rf "$venv"
        # Without an interpreter that serves, uv gets one.
        quietly "uv" uv venv --python "${python:->=3.11,<3.15}" "$venv" || { excuse uv; return 1; }
    fi
    install_locked uv pip install --python "$venv/bin/python" || { excuse uv; return 1; }
    seal "$venv"
}

with_pip() {
    local venv=$root/.venv
    if is_outdated "$venv" && "$venv/bin/python" -Ic 'import pip' 2> /dev/null; then
        say "Bringing the Python environment up to date ..."
        rm -f "$venv/$STAMP"
    else
        need_venv_module
        say "Making the Python environment in .venv with pip and $python (a few minutes) ..."
        rm -rf "$venv"
        quietly "venv" "$python" -m venv "$venv" || return 1
    fi
    install_locked "$venv/bin/python" -m pip install || return 1
    seal "$venv"
}

make_environment() {
    find_environment
    is_complete "$environment" && return
    if [ -n "$offline" ]; then
        is_outdated "$environment" && say "LAB_OFFLINE: going on with an environment of an older version of the course." && return
        stop "There is no complete Python environment here yet, and LAB_OFFLINE forbids to get one." \
            "Unset LAB_OFFLINE and run ./setup.sh once where there is a network."
    fi
    take_lock
    check_disk
    : > "$log"
    share_settings
    with_conda && return
    with_uv && return
    with_pip && return
    last_lines 8 >&2
    stop "The Python packages could not be installed; the lines above are the last of $log" \
        "Is there a network? Behind a proxy, set https_proxy; with a certificate authority of your own, SSL_CERT_FILE;" \
        "with a package index of your own, PIP_INDEX_URL. Then run ./setup.sh again: it goes on."
}

# --- The walk --------------------------------------------------------------------------------------------------------

task="setup"
full=
yes=no
case ${CI:-} in 1 | true | yes | True | TRUE) yes=yes ;; esac
for argument in "$@"; do
    case $argument in
        -h | --help) usage && exit 0 ;;
        -y | --yes) yes=yes ;;
        test) task="test" ;;
        --full) full=--full ;;
        *) misuse "./setup.sh does not know \`$argument\`." ;;
    esac
done
[ -z "$full" ] || [ $task = test ] || misuse "\`--full\` goes with \`test\` only."

root=$(cd "$(dirname "$0")" && pwd -P) && cd "$root" || exit $MACHINE
state=$root/.lab
log=$state/setup.log
locked=no
offline=${LAB_OFFLINE:-}
[ "$offline" != 0 ] || offline=
terminal=no
[ ! -t 1 ] || [ ! -t 2 ] || terminal=yes

check_surroundings
trap leave EXIT
trap interrupted INT TERM
make_environment
leave
trap - EXIT INT TERM

lab=$environment/bin/lab
set --
[ $yes = no ] || set -- --yes
[ $task = test ] || exec "$lab" setup "$@"
"$lab" setup --yes --for-tests || exit $?
exec "$lab" test $full
