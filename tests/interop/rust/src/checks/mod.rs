//! All checks, in the order in which they run; each opens sessions of its own.

mod greeting;
mod large;
mod listing;
mod reading;
mod refusing;
mod schemas;
mod shared;
mod snapshots;
mod tenants;
mod writing;

use std::process::ExitCode;

use crate::outcome::Outcome;
use crate::world::World;

/// Prints a line for each check and counts.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    fn add(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok    {name}");
            }
            Err(failed) => {
                self.failed += 1;
                println!("FAIL  {name}: {}", failed.0);
            }
        }
    }
}

macro_rules! run_all {
    ($world:expr, $($room:ident: $($check:ident),+;)+) => {{
        let mut tally = Tally::default();
        $($(
            let name = concat!(stringify!($room), "::", stringify!($check));
            tally.add(name, $room::$check($world).await);
        )+)+
        tally
    }};
}

/// Runs everything; fails when one check does.
#[tokio::main]
pub async fn run(world: &World) -> ExitCode {
    let tally = run_all!(world,
        greeting: config_is_kept, wrong_token, no_token, wrong_protocol_version, foreign_tenant,
            plaintext_is_agreed, nobody_listens;
        writing: create, create_twice, append, append_creates, patch, archive_and_restore,
            publish_targets;
        reading: get, select, verify, events_in_pages, events_filtered, events_of_nothing;
        listing: in_pages, sorted, sorted_by_text, sorted_in_pages, filtered, archived;
        snapshots: made_listed_fetched, none;
        schemas: round_trip, all_or_none, forbidden, violations, hidden, published_and_reloaded;
        tenants: shards, quotas;
        refusing: wrong_token_of_a_request, missing_aggregate, forbidden_write, forbidden_type,
            hidden_from_lists, bad_names, bad_payload, bad_patch, bad_list;
        shared: eight_writes_at_once, eight_different_calls_at_once;
        large: written_at_once, grown_by_events, too_long_for_a_frame;
    );
    println!("{} checks passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
