//! The published Rust client `eventdbx-client`, unmodified, against a running server.
//!
//! `interop check` calls every public method and prints a line for each thing it found true or
//! false; `../run.py` starts the server. Where the server is and who may do what comes from the
//! environment, see `world.rs`.

mod checks;
mod outcome;
mod world;

use std::process::ExitCode;

use world::World;

#[tokio::main]
async fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let world = match World::from_environment() {
        Ok(world) => world,
        Err(missing) => return usage(&missing),
    };
    match command.as_str() {
        "check" => checks::run(&world).await,
        other => usage(&format!("unknown command '{other}'")),
    }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("interop: {problem}\nusage: interop check");
    ExitCode::from(2)
}
