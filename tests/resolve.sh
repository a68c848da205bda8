#!/usr/bin/env bash
# Makes a lock file of this crate beside each of the crates that bring a SQLite of their own, as people use them: only one
# version of libsqlite3-sys can be in a tree. Builds nothing.
set -euo pipefail
crate=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

resolve() { # name, dependency
    mkdir -p "$scratch/$1/src"
    : >"$scratch/$1/src/lib.rs"
    cat >"$scratch/$1/Cargo.toml" <<TOML
[package]
name = "beside-$1"
version = "0.0.0"
edition = "2024"

[dependencies]
market-data-store = { path = "$crate" }
$2

[workspace]
TOML
    if ! cargo generate-lockfile --quiet --manifest-path "$scratch/$1/Cargo.toml"; then
        printf 'error: the crate does not resolve beside %s\n' "$2" >&2
        return 1
    fi
    printf '%-8s  rusqlite %s\n' "$1" "$(sed -n '/^name = "rusqlite"/{n;s/version = "\(.*\)"/\1/p}' "$scratch/$1/Cargo.lock")"
}

resolve alone ''
resolve sqlx-08 'sqlx = { version = "0.8", features = ["runtime-tokio", "sqlite"] }'
resolve sqlx-09 'sqlx = { version = "0.9", features = ["runtime-tokio", "sqlite"] }'
resolve sea-orm 'sea-orm = { version = "1", features = ["sqlx-sqlite", "runtime-tokio-rustls"] }'
resolve diesel 'diesel = { version = "2", features = ["sqlite"] }'
