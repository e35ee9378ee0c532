//! The published Rust client `eventdbx-client`, unmodified, against a running server.
//!
//! `interop check` calls every public method and prints a line for each thing it found true or
//! false; `../../check_rust_client.py` starts the server. `interop load SECONDS LONG_SECONDS`
//! measures calls a second; `bench/rust_load.py` starts that one. Where the server is and who may
//! do what comes from the environment, see `world.rs`.

mod checks;
mod load;
mod outcome;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use world::World;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let world = match World::from_environment() {
        Ok(world) => world,
        Err(missing) => return usage(&missing),
    };
    match arguments[..] {
        ["check"] => checks::run(&world),
        ["load", short, long] => match (seconds(short), seconds(long)) {
            (Some(short), Some(long)) => load::run(world, short, long),
            _ => usage("SECONDS are numbers, not below 0"),
        },
        _ => usage("not understood"),
    }
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().and_then(|number| Duration::try_from_secs_f64(number).ok())
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("interop: {problem}\nusage: interop check | interop load SECONDS LONG_SECONDS");
    ExitCode::from(2)
}
