//! One client used by eight tasks at once: each gets the answer to its own call.

use std::sync::Arc;

use eventdbx_client::{
    AppendEventRequest, CreateAggregateRequest, CreateSnapshotRequest, EventDbxClient,
    ListAggregatesOptions, ListEventsOptions, SelectAggregateRequest,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::outcome::{Failed, Outcome, column, is, same, written};
use crate::world::World;

const CALLS: usize = 8;
const ROUNDS: u64 = 20;

/// Waits for all of them; the first failure counts.
async fn all(mut tasks: JoinSet<Outcome>) -> Outcome {
    while let Some(done) = tasks.join_next().await {
        done.map_err(|error| Failed(format!("a task broke off: {error}")))??;
    }
    Ok(())
}

async fn client(world: &World) -> Result<Arc<EventDbxClient>, Failed> {
    Ok(Arc::new(world.client().await?))
}

/// Eight writers, half of them on one aggregate: no event is lost or doubled.
pub async fn eight_writes_at_once(world: &World) -> Outcome {
    let client = client(world).await?;
    let mode = world.mode;
    let mut tasks = JoinSet::new();
    for writer in 0..CALLS {
        let client = client.clone();
        tasks.spawn(async move {
            let id = if writer % 2 == 0 { "both".into() } else { format!("own-{writer}") };
            for round in 0..ROUNDS {
                let payload = json!({"writer": writer, "round": round});
                let request = AppendEventRequest::new("shared", &id, "written", payload.clone());
                let event = written(mode, client.append_event(request).await, |r| r.event)?;
                if let Some(event) = event {
                    same((&event["aggregate_id"], &event["payload"]), (&json!(id), &payload))?;
                }
            }
            Ok(())
        });
    }
    all(tasks).await?;
    let options = ListEventsOptions { take: Some(200), ..Default::default() };
    let events = client.list_events("shared", "both", options).await?.events;
    let wanted: Vec<String> = (1..=ROUNDS * 4).map(|version| version.to_string()).collect();
    same(column(&events, "version"), wanted)?;
    let own = client.get_aggregate("shared", "own-7").await?.aggregate.unwrap_or_default();
    is(&own["version"], ROUNDS)
}

pub async fn eight_different_calls_at_once(world: &World) -> Outcome {
    let client = client(world).await?;
    let request = CreateAggregateRequest::new("shared", "mixed", "made", json!({"n": 1}));
    written(world.mode, client.create_aggregate(request).await, |r| r.aggregate)?;
    let root = client.verify_aggregate("shared", "mixed").await?.merkle_root;
    let mode = world.mode;
    let mut tasks = JoinSet::new();
    for number in 0..CALLS {
        let (client, root) = (client.clone(), root.clone());
        tasks.spawn(async move { call(mode, number, &client, &root).await });
    }
    all(tasks).await
}

async fn call(
    mode: crate::world::Mode,
    number: usize,
    client: &EventDbxClient,
    root: &str,
) -> Outcome {
    for round in 0..ROUNDS {
        match number {
            0 => same(client.get_aggregate("shared", "mixed").await?.found, true)?,
            1 => same(client.verify_aggregate("shared", "mixed").await?.merkle_root, root)?,
            2 => {
                let request = SelectAggregateRequest::new("shared", "mixed", vec!["n".into()]);
                same(client.select_aggregate(request).await?.selection, Some(json!({"n": 1})))?;
            }
            3 => {
                let options = ListEventsOptions::default();
                let page = client.list_events("shared", "mixed", options).await?;
                same(column(&page.events, "version"), ["1"])?;
            }
            4 => {
                let options = ListAggregatesOptions {
                    filter: Some("aggregate_id = \"mixed\"".into()),
                    ..Default::default()
                };
                let page = client.list_aggregates(options).await?;
                same(column(&page.aggregates, "aggregate_id"), ["mixed"])?;
            }
            5 => {
                let id = format!("mixed-{round}");
                let request = CreateAggregateRequest::new("shared", &id, "made", json!({}));
                let made = written(mode, client.create_aggregate(request).await, |r| r.aggregate)?;
                if let Some(made) = made {
                    is(&made["aggregate_id"], id.as_str())?;
                }
            }
            6 => {
                let request = CreateSnapshotRequest::new("shared", "mixed");
                is(&client.create_snapshot(request).await?.snapshot["version"], 1)?;
            }
            _ => same(client.get_aggregate("shared", "absent").await?.found, false)?,
        }
    }
    Ok(())
}
