//! Reading one aggregate: its document, parts of it, its root, its events.

use eventdbx_client::{
    AppendEventRequest, EventDbxClient, ListEventsOptions, SelectAggregateRequest,
};
use serde_json::{Value, json};

use crate::outcome::{Failed, Outcome, column, holds, is, same, written};
use crate::world::World;

/// Writes an aggregate of so many events, `step` counting them.
async fn steps(world: &World, client: &EventDbxClient, id: &str, count: u64) -> Outcome {
    for step in 1..=count {
        let payload = json!({"step": step});
        let request = AppendEventRequest::new("order", id, "order_moved", payload);
        written(world.mode, client.append_event(request).await, |r| r.event)?;
    }
    Ok(())
}

pub async fn get(world: &World) -> Outcome {
    let client = world.client().await?;
    steps(world, &client, "get-1", 2).await?;
    let found = client.get_aggregate("order", "get-1").await?;
    same(found.found, true)?;
    let document = found.aggregate.unwrap_or_default();
    is(&document["aggregate_type"], "order")?;
    is(&document["aggregate_id"], "get-1")?;
    same((&document["version"], &document["state"]), (&json!(2), &json!({"step": "2"})))?;
    let missing = client.get_aggregate(String::from("order"), &String::from("get-9")).await?;
    same((missing.found, missing.aggregate), (false, None))
}

pub async fn select(world: &World) -> Outcome {
    let client = world.client().await?;
    let state = json!({"who": "kim", "age": 30, "address": {"city": "Rome"}, "tags": ["a", "b"]});
    let request = AppendEventRequest::new("order", "select-1", "order_created", state);
    written(world.mode, client.append_event(request).await, |r| r.event)?;
    let fields = ["who", "age", "address.city", "tags.1", "nothing"].map(String::from).to_vec();
    let request = SelectAggregateRequest::new("order", "select-1", fields.clone());
    let selected = client.select_aggregate(request).await?;
    let wanted =
        json!({"address.city": "Rome", "age": 30, "nothing": null, "tags.1": "b", "who": "kim"});
    same((selected.found, selected.selection), (true, Some(wanted)))?;
    let mut request = SelectAggregateRequest::new("order", "select-1", Vec::new());
    request.token = Some(world.reader.clone());
    same(client.select_aggregate(request).await?.selection, Some(json!({})))?;
    let request = SelectAggregateRequest::new("order", "select-9", fields);
    let missing = client.select_aggregate(request).await?;
    same((missing.found, missing.selection), (false, None))
}

/// The root of a verification is the one that the document shows.
pub async fn verify(world: &World) -> Outcome {
    let client = world.client().await?;
    steps(world, &client, "verify-1", 3).await?;
    let root = client.verify_aggregate("order", "verify-1").await?.merkle_root;
    let document = client.get_aggregate("order", "verify-1").await?.aggregate.unwrap_or_default();
    is(&document["merkle_root"], root.as_str())
}

pub async fn events_in_pages(world: &World) -> Outcome {
    let client = world.client().await?;
    steps(world, &client, "pages-1", 7).await?;
    steps(world, &client, "pages-10", 1).await?;
    let mut seen = Vec::new();
    let mut pages = 0;
    let mut options = ListEventsOptions { take: Some(3), ..Default::default() };
    loop {
        let page = client.list_events("order", "pages-1", options.clone()).await?;
        pages += 1;
        seen.extend(column(&page.events, "version"));
        options.cursor = page.next_cursor;
        if options.cursor.is_none() {
            break;
        }
    }
    same(seen, ["1", "2", "3", "4", "5", "6", "7"])?;
    same(pages, 3)
}

pub async fn events_filtered(world: &World) -> Outcome {
    let client = world.client().await?;
    steps(world, &client, "filter-1", 6).await?;
    let versions = async |filter: &str| -> Result<Vec<String>, Failed> {
        let options = ListEventsOptions {
            filter: Some(filter.into()),
            token: Some(world.reader.clone()),
            ..Default::default()
        };
        let page = client.list_events("order", "filter-1", options).await?;
        Ok(column(&page.events, "version"))
    };
    same(versions("version > 4").await?, ["5", "6"])?;
    same(versions("payload.step = 2 OR payload.step = 3").await?, ["2", "3"])?;
    same(versions("event_type = \"order_paid\"").await?.len(), 0)
}

pub async fn events_of_nothing(world: &World) -> Outcome {
    let client = world.client().await?;
    let page = client.list_events("order", "events-9", ListEventsOptions::default()).await?;
    is(&page.events, Value::Array(Vec::new()))?;
    holds(page.next_cursor.is_none(), || "an empty page has a cursor".into())
}
