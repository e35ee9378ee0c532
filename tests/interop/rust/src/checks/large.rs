//! Aggregates as large as a frame, written and read back; and what happens beyond.

use eventdbx_client::{
    AppendEventRequest, CreateAggregateRequest, EventDbxClient, ListAggregatesOptions,
    ListEventsOptions, SelectAggregateRequest,
};
use serde_json::{Value, json};

use crate::outcome::{Outcome, column, holds, is, refused, same, written};
use crate::world::World;

const LARGE: usize = 60_000;

/// Text in which every part is different, so that nothing can be mixed up.
fn text(length: usize) -> String {
    (0..)
        .map(|number: usize| format!("{number:07} "))
        .flat_map(|part| part.into_bytes())
        .take(length)
        .map(char::from)
        .collect()
}

async fn state(client: &EventDbxClient, id: &str) -> Result<Value, eventdbx_client::Error> {
    let found = client.get_aggregate("order", id).await?.aggregate.unwrap_or_default();
    Ok(found["state"].clone())
}

/// A state of 60 kB in one event: the request comes in several segments, the answer in one.
pub async fn written_at_once(world: &World) -> Outcome {
    let client = world.client().await?;
    let wanted = json!({"text": text(LARGE)});
    let request = CreateAggregateRequest::new("order", "large-1", "order_created", wanted.clone());
    let made = written(world.mode, client.create_aggregate(request).await, |r| r.aggregate)?;
    if let Some(made) = made {
        is(&made["state"], wanted.clone())?;
    }
    same(state(&client, "large-1").await?, wanted.clone())?;
    let request = SelectAggregateRequest::new("order", "large-1", vec!["text".into()]);
    same(client.select_aggregate(request).await?.selection, Some(wanted.clone()))?;
    let page = client.list_events("order", "large-1", ListEventsOptions::default()).await?;
    is(&page.events[0]["payload"], wanted)?;
    let options = ListAggregatesOptions {
        filter: Some("aggregate_id = \"large-1\"".into()),
        ..Default::default()
    };
    let page = client.list_aggregates(options).await?;
    same(column(&page.aggregates, "aggregate_id"), ["large-1"])
}

/// A state of 60 kB from six events; their list comes in pages that each fit a frame.
pub async fn grown_by_events(world: &World) -> Outcome {
    let client = world.client().await?;
    let mut wanted = json!({});
    for number in 0..6 {
        let part = format!("part_{number}");
        wanted[&part] = json!(text(LARGE / 6));
        let payload = json!({part: text(LARGE / 6)});
        let request = AppendEventRequest::new("order", "large-2", "order_grown", payload);
        written(world.mode, client.append_event(request).await, |r| r.event)?;
    }
    same(state(&client, "large-2").await?, wanted)?;
    let mut seen = Vec::new();
    let mut options = ListEventsOptions::default();
    loop {
        let page = client.list_events("order", "large-2", options.clone()).await?;
        seen.extend(column(&page.events, "version"));
        options.cursor = page.next_cursor;
        if options.cursor.is_none() {
            break;
        }
    }
    same(seen, ["1", "2", "3", "4", "5", "6"])
}

/// A document that no frame can hold is an error of its own; parts of it can still be read.
pub async fn too_long_for_a_frame(world: &World) -> Outcome {
    let client = world.client().await?;
    for part in ["one", "two"] {
        let payload = json!({part: text(40_000)});
        let request = AppendEventRequest::new("order", "large-3", "order_grown", payload);
        written(world.mode, client.append_event(request).await, |r| r.event)?;
    }
    match client.get_aggregate("order", "large-3").await {
        Err(eventdbx_client::Error::Server(error)) => same(error.code, "serialization")?,
        _ => holds(false, || "a document that does not fit was answered".into())?,
    }
    let request = SelectAggregateRequest::new("order", "large-3", vec!["two".into()]);
    same(client.select_aggregate(request).await?.selection, Some(json!({"two": text(40_000)})))?;
    let archived = eventdbx_client::SetAggregateArchiveRequest::new("order", "large-9", true);
    refused(
        client.set_aggregate_archive(archived).await,
        "aggregate_not_found",
        "aggregate not found",
    )
}
