#!/usr/bin/env bash
# Gets what the tests need, the first time, and runs them. Arguments go to cargo: tests/run.sh --test behaviour accounting::
set -euo pipefail
cd "$(dirname "$0")/.."
tests/setup.sh
exec cargo test --locked --all-features "$@"
