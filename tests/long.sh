#!/usr/bin/env bash
# The long suite: the same tests as `tests/run.sh`, in their full sizes and optimised, then the benchmarks
# beside their peers. Takes about two hours on two cores, one of them for the chaos of signals (MDS_TEST_CHAOS_SECONDS);
# measure only on a machine that does nothing else.
#
#   tests/long.sh             everything
#   tests/long.sh bus:: accounting only tests whose names contain one of these, no benchmarks
set -euo pipefail
cd "$(dirname "$0")/.."

export MDS_TEST_BUS_EVENTS=100000       # level changes for each case of isolation
export MDS_TEST_CANCELLED=100000        # submit futures dropped
export MDS_TEST_CHAOS_SECONDS=${MDS_TEST_CHAOS_SECONDS:-3600} # three producers behind a store whose parts fail
export MDS_TEST_CONSERVATION=2000000    # records for each overflow strategy
export MDS_TEST_CONTRACT_CASES=50       # random batches of every kind, for each database
export MDS_TEST_DAMAGES=10000           # damaged dead-letter files
export MDS_TEST_DEAD_LETTERS_EACH=20000 # dead letters of each of two writers beside a replay
export MDS_TEST_DEATHS=1000             # actors that panic half way, 100 of each kind under load and at the end; loads in
                                        # which one does, 200 of each kind
export MDS_TEST_EFFECTIVE_TRADES=20000  # random histories of corrected trades
export MDS_TEST_FUZZ_SECONDS=${MDS_TEST_FUZZ_SECONDS:-600} # damaged files, for each reader of files
export MDS_TEST_HISTORIES=20000         # random histories of the buffer against its models
export MDS_TEST_INGESTS_BESIDE_REPLAYS=5000 # rows that the store takes, and as many that it refuses, of each of two ingests
export MDS_TEST_KIND_FILES=2000         # batches of random records of each kind, as CSV and NDJSON of our own columns
export MDS_TEST_KILLS=200               # SIGKILLs
export MDS_TEST_LAYOUTS=1000000         # random bars in random layouts of files
export MDS_TEST_LOCKS=20                # locks of another process under load
export MDS_TEST_MEMORY_MB=1000          # megabytes of bars on a pipe
export MDS_TEST_ORDER=1000000           # updates of 1,000 keys
export MDS_TEST_ORDER_SQLITE=100000     # the same, into a database file
export MDS_TEST_OUTAGES=20              # outages under load; series of them on a clock of its own
export MDS_TEST_OUTAGE_MS=3000          # how long each of them lasts, in milliseconds
export MDS_TEST_PAGE_CASES=500          # selections of random trades read page by page, in each database
export MDS_TEST_PAGE_ROWS=1000000       # rows read page by page, in each database
export MDS_TEST_POISON_POSITIONS=500    # places of one bad record in a batch of 500
export MDS_TEST_POSTGRES_COMMITS=200    # connections to PostgreSQL that are cut at a commit
export MDS_TEST_POSTGRES_CRASHES=20     # crashes of a PostgreSQL under load
export MDS_TEST_POSTGRES_KILLS=200      # connections that PostgreSQL ends
export MDS_TEST_POSTGRES_LATE=200       # writes that come to PostgreSQL behind a newer one
export MDS_TEST_POSTGRES_LOCK_MS=60000  # how long a table of PostgreSQL is locked, in milliseconds
export MDS_TEST_POSTGRES_MIGRATIONS=50  # fresh databases of which ten stores make the tables at once
export MDS_TEST_POSTGRES_ORDER=1000000  # updates of 1,000 keys, into PostgreSQL
export MDS_TEST_POSTGRES_OVERTAKING=200 # writes that are cut off behind the lock of a row
export MDS_TEST_POSTGRES_WAYS=50        # times that the way to PostgreSQL is cut
export MDS_TEST_POWER_CUTS=500          # losses of power, for each of the two ways to commit in SQLite
export MDS_TEST_RECEIVER_CASES=200000   # messages changed on their way
export MDS_TEST_RECORDS=200000          # records of each of 8 producers
export MDS_TEST_REPLAY_KILLS=100        # replays killed in the middle
export MDS_TEST_RESTARTS=20             # stores killed at hard that start again, with a producer that waits
export MDS_TEST_ROUND_TRIPS=2000        # records of each kind through query and ingest
export MDS_TEST_ROUND_TRIP_CASES=20     # how often
export MDS_TEST_SELECTIONS=1000         # stores of random trades, each asked 20 times
export MDS_TEST_SERVE_LOAD_SECONDS=120  # five times what the store takes, over HTTP
export MDS_TEST_SERVE_SLOW=1000         # connections that bring a byte in ten seconds
export MDS_TEST_SERVE_ABORTS=1000       # clients of mds serve that go away in the middle of a body
export MDS_TEST_SERVE_CLIENT_RECORDS=1000000 # records that each client of the examples brings in, in each of four forms
export MDS_TEST_SERVE_KILLS=100         # SIGKILLs of an mds serve under load
export MDS_TEST_SERVE_RECORDS=100000    # records of a body that goes on after refusals
export MDS_TEST_SERVE_STREAMS=200       # clients of the stream of levels, half of which do not read
export MDS_TEST_SERVE_TERMS=50          # SIGTERMs of an mds serve under load
export MDS_TEST_SERVICE_TERMS=100       # SIGTERMs to a service that embeds a store
export MDS_TEST_SIMULATIONS=64          # simulated stores and producers of each speed: all of them
export MDS_TEST_SMALL_DISKS=30          # full file systems; 0 where none can be mounted, not even in a user namespace
export MDS_TEST_STREAM_EVENTS=1000000   # events past a client of the stream that does not read
export MDS_TEST_TERMS=50                # SIGTERMs under load
export MDS_TEST_WAVES=100000            # square waves through real actors
export MDS_TEST_WEBHOOKS=1000           # square waves of two coordinators, 0.25 s each, to a URL beside two that never answer

tests/setup.sh
if [ $# -gt 0 ]; then
    exec cargo test --locked --release --all-features -- --nocapture "$@"
fi
cargo test --locked --release --all-features -- --nocapture --skip fuzz::
# The readers of files and of requests beside each other, each for its whole time, with nothing else that measures.
cargo test --locked --release --all-features --test behaviour fuzz:: -- --nocapture --test-threads 11
# All benches, and behind them what they measured as one table and one JSON.
cargo bench --locked --all-features
