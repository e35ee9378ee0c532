//! Load through the published client: calls a second, each caller with a connection of its own.
//!
//! `bench/rust_load.py` fills the database before and makes a table of the lines printed here, one
//! JSON object for each load. All callers run on one thread: the server has the other core.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use eventdbx_client::{
    AppendEventRequest, CreateAggregateRequest, Error, EventDbxClient, ListAggregatesOptions,
    ListEventsOptions,
};
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};

use crate::world::World;

const WARM_UP: Duration = Duration::from_millis(300);
/// What is there before, as `bench/workload.py` names it.
const AGGREGATES: u64 = 1_000;
const SHORT_AGGREGATES: u64 = 2_000;
const PAGE: u64 = 50;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Get,
    Append,
    Create,
    List,
    Events,
    OneAggregate,
}

const LOADS: [(&str, Work, usize); 9] = [
    ("get", Work::Get, 1),
    ("get", Work::Get, 16),
    ("append", Work::Append, 1),
    ("append", Work::Append, 16),
    ("append", Work::Append, 64),
    ("create", Work::Create, 16),
    ("list", Work::List, 16),
    ("events", Work::Events, 16),
    ("one aggregate", Work::OneAggregate, 16),
];

/// One caller: its connection, and what it needs to choose the next call.
struct Caller {
    client: EventDbxClient,
    number: u64,
    calls: u64,
    cursor: Option<String>,
    /// Makes the names that are created differ from those of an earlier run.
    run: u128,
}

/// A call that has returned: when, counted from the start, and how long it took.
struct Call {
    at: Duration,
    took: Duration,
}

/// An object of ten fields, about 200 bytes of JSON: the payload of `bench/workload.py`.
fn payload(number: u64) -> Value {
    let status = ["placed", "paid", "packed", "shipped"][(number % 4) as usize];
    json!({
        "status": status,
        "customer": format!("c-{:06}", number % 9973),
        "amount_cents": 1_000 + number * 37 % 90_000,
        "currency": "EUR",
        "items": number % 7 + 1,
        "express": number % 3 == 0,
        "weight_kg": (number % 400) as f64 / 16.0,
        "address": format!("{} Harbour Street", number % 240 + 1),
        "city": "Rotterdam",
        "updated_by": format!("clerk-{}", number % 40),
    })
}

impl Caller {
    /// A number that jumps about, yet is the same in every run.
    fn choice(&self) -> u64 {
        let mixed = (self.number << 32 | self.calls).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ mixed >> 29
    }

    async fn append(&self, id: String) -> Result<(), Error> {
        let request = AppendEventRequest::new("order", id, "order_changed", payload(self.choice()));
        self.client.append_event(request).await.map(drop)
    }

    async fn call(&mut self, work: Work) -> Result<(), Error> {
        self.calls += 1;
        let chosen = self.choice();
        match work {
            Work::Get => {
                let id = format!("o-{:07}", chosen % AGGREGATES);
                found(self.client.get_aggregate("order", id).await?.found)
            }
            Work::Append => self.append(format!("o-{:07}", chosen % AGGREGATES)).await,
            Work::OneAggregate => self.append(format!("contended-{}", self.run)).await,
            Work::Create => {
                let id = format!("new-{}-{}-{}", self.run, self.number, self.calls);
                let request =
                    CreateAggregateRequest::new("order", id, "order_placed", payload(chosen));
                self.client.create_aggregate(request).await.map(drop)
            }
            Work::List => {
                let options = ListAggregatesOptions {
                    cursor: self.cursor.take(),
                    take: Some(PAGE),
                    ..Default::default()
                };
                let page = self.client.list_aggregates(options).await?;
                self.cursor = page.next_cursor;
                found(page.aggregates.is_array())
            }
            Work::Events => {
                let id = format!("short-{:05}", chosen % SHORT_AGGREGATES);
                let options = ListEventsOptions { take: Some(PAGE), ..Default::default() };
                let page = self.client.list_events("order", id, options).await?;
                found(page.events.as_array().is_some_and(|events| events.len() == 10))
            }
        }
    }

    /// Calls until the time is over.
    async fn work(mut self, work: Work, start: Instant, end: Duration) -> Result<Vec<Call>, Error> {
        let mut calls = Vec::new();
        loop {
            let before = start.elapsed();
            if before >= end {
                return Ok(calls);
            }
            self.call(work).await?;
            let at = start.elapsed();
            calls.push(Call { at, took: at - before });
        }
    }
}

fn found(there: bool) -> Result<(), Error> {
    if there { Ok(()) } else { Err(Error::Protocol("what was filled in is not there".into())) }
}

fn since_1970() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// Returns when the measurement began, and the calls that returned in its length.
async fn measure(
    world: &World,
    work: Work,
    clients: usize,
    length: Duration,
) -> Result<(Duration, Vec<Call>), Error> {
    let run = since_1970().as_millis();
    let mut callers = Vec::new();
    for number in 0..clients as u64 {
        let client = world.client().await?;
        callers.push(Caller { client, number, calls: 0, cursor: None, run });
    }
    let end = WARM_UP + length;
    let start = Instant::now();
    let began = since_1970() + WARM_UP;
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn_local(caller.work(work, start, end));
    }
    let mut calls = Vec::new();
    while let Some(done) = tasks.join_next().await {
        calls.extend(done.map_err(|error| Error::Protocol(error.to_string()))??);
    }
    calls.retain(|call| call.at >= WARM_UP && call.at < end);
    Ok((began, calls))
}

/// The calls a second between two moments of the measurement.
fn rate(calls: &[Call], from: Duration, length: Duration) -> f64 {
    let within = |call: &&Call| call.at >= from && call.at < from + length;
    calls.iter().filter(within).count() as f64 / length.as_secs_f64()
}

fn describe(name: &str, work: Work, clients: usize, length: Duration, calls: &[Call]) -> Value {
    let mut took: Vec<u128> = calls.iter().map(|call| call.took.as_micros()).collect();
    took.sort_unstable();
    let quantile = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    let mut line = json!({
        "load": name,
        "clients": clients,
        "seconds": length.as_secs_f64(),
        "calls": calls.len(),
        "per_second": rate(calls, WARM_UP, length).round(),
        "median_us": quantile(50) as u64,
        "p99_us": quantile(99) as u64,
    });
    if work == Work::OneAggregate {
        let fifth = length / 5;
        let fifths: Vec<f64> =
            (0..5).map(|number| rate(calls, WARM_UP + fifth * number, fifth).round()).collect();
        line["slower_at_the_end"] = json!((fifths[0] / fifths[4] * 1000.0).round() / 1000.0);
        line["fifths_per_second"] = json!(fifths);
    }
    line
}

async fn run_all(world: Rc<World>, short: Duration, long: Duration) -> ExitCode {
    for (name, work, clients) in LOADS {
        let length = if work == Work::OneAggregate { long } else { short };
        if length.is_zero() {
            continue;
        }
        match measure(&world, work, clients, length).await {
            Ok((began, calls)) => {
                let mut line = describe(name, work, clients, length, &calls);
                line["began_unix_s"] = json!(began.as_secs_f64());
                println!("{line}");
            }
            Err(error) => {
                eprintln!("interop: {name} with {clients} clients: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Runs every load for `short`, the one on a single aggregate for `long`; zero leaves it out.
pub fn run(world: World, short: Duration, long: Duration) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, run_all(Rc::new(world), short, long)),
        Err(error) => {
            eprintln!("interop: {error}");
            ExitCode::FAILURE
        }
    }
}
