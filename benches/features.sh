#!/usr/bin/env bash
# What each feature costs an embedder: the crates that are built, the processor time of a build from scratch and one of the
# crate alone, and the size of a stripped program that starts a store. The profile is cargo's own for releases.
#
#   benches/features.sh              a row of a Markdown table a set of features
#   benches/features.sh '' sqlite    those sets alone; '' is none
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
[ $# -gt 0 ] || set -- '' sqlite postgres serve 'sqlite postgres webhooks receiver serve'

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/src"
cp Cargo.lock "$scratch"
cat >"$scratch/Cargo.toml" <<TOML
[package]
name = "embedder"
version = "0.1.0"
edition = "2024"

[features]
postgres = ["market-data-store/postgres"]
receiver = ["market-data-store/receiver"]
serve = ["market-data-store/serve", "dep:actix-web"]
sqlite = ["market-data-store/sqlite"]
webhooks = ["market-data-store/webhooks"]

[dependencies]
actix-web = { version = "4", default-features = false, optional = true }
market-data-store = { path = "$root", default-features = false }
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
TOML
cat >"$scratch/src/main.rs" <<'RUST'
use market_data_store::{Bar, MarketDataStore, Settings, Timeframe, Timestamp};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MarketDataStore::start(Settings::from_env()?).await?;
    #[cfg(feature = "serve")]
    let _app = actix_web::App::new().service(market_data_store::http::routes(&store));
    let bar = Bar::new("ES", Timeframe::MINUTE, Timestamp::from_secs(0)).ohlc(1.0, 2.0, 0.5, 1.5);
    store.coordinator::<Bar>()?.submit(bar).await?;
    println!("{}", store.shutdown(store.shutdown_timeout()).await);
    Ok(())
}
RUST

cd "$scratch"
export CARGO_TARGET_DIR=$scratch/target CARGO_PROFILE_RELEASE_STRIP=symbols
build() { # features: prints the seconds of processor time
    local TIMEFORMAT='%U %S' spent
    spent=$({ time cargo build --quiet --release --features "$1" >&2; } 2>&1) || { echo "$spent" >&2; return 1; }
    awk '{ printf "%.0f", $1 + $2 }' <<<"$(tail -n 1 <<<"$spent")"
}

echo '| features | crates | build, processor seconds | of them the crate | stripped program |'
echo '|---|---|---|---|---|'
for features; do
    cargo clean --quiet
    all=$(build "$features")
    cargo clean --quiet --release --package market-data-store
    own=$(build "$features")
    crates=$(cargo tree --features "$features" --edges normal,build --prefix none --no-dedupe | awk '{ print $1, $2 }' |
        sort -u | wc -l)
    size=$(stat -c %s target/release/embedder | awk '{ printf "%.1f MiB", $1 / 1048576 }')
    echo "| ${features:-none} | $((crates - 1)) | $all | $own | $size |"
done
