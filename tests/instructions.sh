#!/usr/bin/env bash
# Counts the instructions that operations of the write path take, with callgrind, and compares them with the table
# benches/instructions/counts.txt. Fails when one takes more than 5 %, and 3 instructions, more than the table says.
#
#   tests/instructions.sh                 compares
#   tests/instructions.sh --write         writes the table anew: after a change that is meant to cost what it costs
#   tests/instructions.sh --keep submit   counts some operations, and keeps what callgrind_annotate reads
set -euo pipefail
cd "$(dirname "$0")/.."

table=benches/instructions/counts.txt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

tests/setup.sh
made_with="$(rustc --version), $(valgrind --version), $(getconf GNU_LIBC_VERSION)"
if [ "$(uname -m)" != x86_64 ]; then
    printf 'the table is that of x86_64, nothing to compare here: %s\n' "$(uname -m)"
    exit
fi
if ! grep -qw avx2 /proc/cpuinfo; then
    # Memory is copied and searched by other code there.
    printf 'error: the table is that of processors with AVX2, this one has none\n' >&2
    exit 1
fi

# Built as releases are, but for optimising across crates, which takes long.
program=$(cargo build --locked --profile instructions --no-default-features --features files,postgres,serve,sqlite \
    --bench instructions --message-format json-render-diagnostics |
    jq -r 'select(.reason == "compiler-artifact" and .target.name == "instructions").executable')

keep=
if [ "${1:-}" = --keep ]; then
    shift
    keep=target/instructions-callgrind
    mkdir -p "$keep"
    operations=("$@")
else
    mapfile -t operations < <("$program")
fi

for operation in "${operations[@]}"; do
    out=${keep:-$scratch}/$operation
    # With nothing of the environment, which is a part of the memory. The mark begins a new file each time, so the second
    # one is what lies between the two marks.
    times=$(env -i PATH="$PATH" valgrind --quiet --tool=callgrind --fair-sched=yes --callgrind-out-file="$out" \
        --dump-before=instructions::mark "$program" "$operation")
    awk -v operation="$operation" -v times="$times" '/^summary:/ { printf "%s %.1f\n", operation, $2 / times }' "$out.2"
done | tee "$scratch/counts"

[ -z "$keep" ] || exit 0
if [ "${1:-}" = --write ]; then
    { grep '^#' "$table"; printf 'made with %s\n' "$made_with"; cat "$scratch/counts"; } >"$scratch/table"
    cp "$scratch/table" "$table"
    exit
fi

awk -v made_with="made with $made_with" '
    FNR == NR && /^made with/ { if ($0 != made_with) other = $0 }
    FNR == NR && NF == 2 && !/^#/ { was[$1] = $2 }
    FNR == NR { next }
    !($1 in was) { printf "error: %s is not in the table\n", $1; failed = 1; next }
    {
        change = 100 * ($2 / was[$1] - 1)
        # Of a dozen instructions one more or less is a matter of how the compiler places them.
        if (change > 5 && $2 - was[$1] > 3) { printf "error: %s takes %.1f instructions, %.1f %% more than %.1f\n", $1, $2, change, was[$1]; failed = 1 }
        if (change < -5 && was[$1] - $2 > 3) { printf "%s takes %.1f instructions, %.1f %% less than %.1f\n", $1, $2, -change, was[$1]; better = 1 }
        delete was[$1]
    }
    END {
        for (operation in was) { printf "error: %s is in the table and was not counted\n", operation; failed = 1 }
        if (failed && other != "") { printf "the table was %s\nthis is      %s\n", other, made_with }
        if (failed || better) { print "if that is meant: tests/instructions.sh --write, and say in the commit why" }
        exit failed
    }' "$table" "$scratch/counts"
