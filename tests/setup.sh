#!/usr/bin/env bash
# Gets what the tests need beside Rust: libfaketime, for processes on a clock of their own; jq, by which the commands that errors
# propose are run; python3, and the official package of Standard Webhooks in target/python, so that signatures are checked by
# code of others. Does nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

install() { # packages of Debian...
    if ! command -v apt-get >/dev/null; then
        printf 'error: not there, and no apt-get to install it: %s\n' "$*" >&2
        exit 1
    fi
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq --no-install-recommends "$@"
}

if ! compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null; then
    install libfaketime
fi

if ! command -v jq >/dev/null; then
    install jq
fi

venv=target/python
wanted=tests/requirements.txt
if [ -x "$venv/bin/python" ] && cmp -s "$wanted" "$venv/installed.txt" && "$venv/bin/python" -c 'import standardwebhooks'; then
    exit 0
fi

# Debian has the two modules in a package of their own.
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    install python3 python3-venv
fi

rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$wanted"
cp "$wanted" "$venv/installed.txt"
