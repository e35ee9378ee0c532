//! The errors that a user meets: each has its code and message, and none of them ends the session.

use eventdbx_client::{
    AppendEventRequest, CreateAggregateRequest, CreateSnapshotRequest, EventDbxClient,
    ListAggregatesOptions, ListEventsOptions, PatchEventRequest, SelectAggregateRequest,
    SetAggregateArchiveRequest,
};
use serde_json::json;

use crate::outcome::{Outcome, column, holds, is, refused, same, written};
use crate::world::World;

const INVALID: (&str, &str) = ("invalid_token", "token not found or inactive");
const FORBIDDEN: (&str, &str) = ("unauthorized", "unauthorized");

pub async fn wrong_token_of_a_request(world: &World) -> Outcome {
    let client = world.client().await?;
    let mut append = AppendEventRequest::new("order", "token-1", "order_created", json!({}));
    append.token = Some("secret".into());
    refused(client.append_event(append).await, INVALID.0, INVALID.1)?;
    let list = ListAggregatesOptions { token: Some("secret".into()), ..Default::default() };
    refused(client.list_aggregates(list).await, INVALID.0, INVALID.1)?;
    same(client.get_aggregate("order", "token-1").await?.found, false)
}

pub async fn missing_aggregate(world: &World) -> Outcome {
    let client = world.client().await?;
    let missing = ("aggregate_not_found", "aggregate not found");
    refused(client.verify_aggregate("order", "none-1").await, missing.0, missing.1)?;
    let change = json!([{"op": "add", "path": "/a", "value": 1}]);
    let patch = PatchEventRequest::new("order", "none-1", "order_changed", change);
    refused(client.patch_event(patch).await, missing.0, missing.1)?;
    let archive = SetAggregateArchiveRequest::new("order", "none-1", true);
    refused(client.set_aggregate_archive(archive).await, missing.0, missing.1)?;
    let snapshot = CreateSnapshotRequest::new("order", "none-1");
    refused(client.create_snapshot(snapshot).await, missing.0, missing.1)?;
    same(client.get_aggregate("order", "none-1").await?.found, false)
}

/// Who may only read is refused each kind of write, and nothing is written.
pub async fn forbidden_write(world: &World) -> Outcome {
    let owner = world.client().await?;
    let request =
        CreateAggregateRequest::new("order", "locked-1", "order_created", json!({"n": 1}));
    written(world.mode, owner.create_aggregate(request).await, |r| r.aggregate)?;
    let reader = EventDbxClient::connect(world.settings(&world.reader)).await?;
    let (code, message) = FORBIDDEN;
    let create = CreateAggregateRequest::new("order", "locked-2", "order_created", json!({}));
    refused(reader.create_aggregate(create).await, code, message)?;
    let append = AppendEventRequest::new("order", "locked-1", "order_paid", json!({}));
    refused(reader.append_event(append).await, code, message)?;
    let change = json!([{"op": "replace", "path": "/n", "value": 2}]);
    let patch = PatchEventRequest::new("order", "locked-1", "order_changed", change);
    refused(reader.patch_event(patch).await, code, message)?;
    let archive = SetAggregateArchiveRequest::new("order", "locked-1", true);
    refused(reader.set_aggregate_archive(archive).await, code, message)?;
    let snapshot = CreateSnapshotRequest::new("order", "locked-1");
    refused(reader.create_snapshot(snapshot).await, code, message)?;
    let found = reader.get_aggregate("order", "locked-1").await?.aggregate.unwrap_or_default();
    same((&found["version"], &found["state"]["n"]), (&json!(1), &json!("1")))?;
    same(reader.get_aggregate("order", "locked-2").await?.found, false)
}

/// A token for orders sees nothing of an invoice.
pub async fn forbidden_type(world: &World) -> Outcome {
    let owner = world.client().await?;
    let request = CreateAggregateRequest::new("invoice", "secret-1", "made", json!({}));
    written(world.mode, owner.create_aggregate(request).await, |r| r.aggregate)?;
    let reader = EventDbxClient::connect(world.settings(&world.reader)).await?;
    let (code, message) = FORBIDDEN;
    refused(reader.get_aggregate("invoice", "secret-1").await, code, message)?;
    let select = SelectAggregateRequest::new("invoice", "secret-1", vec!["n".into()]);
    refused(reader.select_aggregate(select).await, code, message)?;
    let events = ListEventsOptions::default();
    refused(reader.list_events("invoice", "secret-1", events).await, code, message)?;
    refused(reader.verify_aggregate("invoice", "secret-1").await, code, message)
}

pub async fn hidden_from_lists(world: &World) -> Outcome {
    let owner = world.client().await?;
    for kind in ["invoice", "order"] {
        let payload = json!({"batch": "hidden"});
        let request = CreateAggregateRequest::new(kind, "hidden-1", "made", payload);
        written(world.mode, owner.create_aggregate(request).await, |r| r.aggregate)?;
    }
    let reader = EventDbxClient::connect(world.settings(&world.reader)).await?;
    let options = || ListAggregatesOptions {
        filter: Some("batch = \"hidden\"".into()),
        ..Default::default()
    };
    let seen = reader.list_aggregates(options()).await?.aggregates;
    same(column(&seen, "aggregate_type"), ["order"])?;
    let all = owner.list_aggregates(options()).await?.aggregates;
    same(column(&all, "aggregate_type"), ["invoice", "order"])
}

pub async fn bad_names(world: &World) -> Outcome {
    let client = world.client().await?;
    for (kind, id, event, problem) in [
        ("Order", "bad-1", "made", "aggregate_type must be lowercase snake_case"),
        (
            "order",
            "bad 1",
            "made",
            "aggregate_id may only contain letters, numbers, underscores, or hyphens",
        ),
        (
            "order",
            "bad-1",
            "made-up",
            "event_type must be lowercase snake_case; dots may be used as separators",
        ),
    ] {
        let message = format!("invalid schema: {problem}");
        let append = AppendEventRequest::new(kind, id, event, json!({}));
        refused(client.append_event(append).await, "invalid_schema", &message)?;
        let create = CreateAggregateRequest::new(kind, id, event, json!({}));
        refused(client.create_aggregate(create).await, "invalid_schema", &message)?;
    }
    same(client.get_aggregate("order", "bad-1").await?.found, false)
}

pub async fn bad_payload(world: &World) -> Outcome {
    let client = world.client().await?;
    let usual = AppendEventRequest::new("order", "bad-2", "order_created", json!({}));
    let mut request = usual.clone();
    request.metadata = Some(json!(["@source"]));
    let metadata = "invalid schema: metadata must be a JSON object";
    refused(client.append_event(request).await, "invalid_schema", metadata)?;
    let mut request = usual.clone();
    request.note = Some("n".repeat(129));
    let note = "invalid schema: event note cannot exceed 128 characters";
    refused(client.append_event(request).await, "invalid_schema", note)?;
    let mut request = usual;
    request.payload = (0..70).fold(json!(1), |inner, _| json!([inner]));
    match client.append_event(request).await {
        Err(eventdbx_client::Error::Server(error)) => {
            same(error.code.as_str(), "invalid_schema")?;
            let start = "invalid schema: invalid payload_json: ";
            holds(error.message.starts_with(start), || error.message)?;
        }
        _ => holds(false, || "JSON of any depth is taken".into())?,
    }
    same(client.get_aggregate("order", "bad-2").await?.found, false)
}

pub async fn bad_patch(world: &World) -> Outcome {
    let client = world.client().await?;
    let request = CreateAggregateRequest::new("order", "bad-3", "order_created", json!({"a": 1}));
    written(world.mode, client.create_aggregate(request).await, |r| r.aggregate)?;
    for (patch, problem) in [
        (json!({"a": 2}), "patch_json must be an array of operations"),
        (json!([{"op": "move", "path": "/b", "from": "/a"}]), "unsupported patch operation 'move'"),
        (
            json!([{"op": "remove", "path": "/a"}]),
            "patch removed key 'a' and removals are not supported",
        ),
    ] {
        let request = PatchEventRequest::new("order", "bad-3", "order_changed", patch);
        let answer = client.patch_event(request).await;
        refused(answer, "invalid_schema", &format!("invalid schema: {problem}"))?;
    }
    let found = client.get_aggregate("order", "bad-3").await?.aggregate.unwrap_or_default();
    is(&found["version"], 1)
}

pub async fn bad_list(world: &World) -> Outcome {
    let client = world.client().await?;
    for options in [
        ListAggregatesOptions { cursor: Some("nonsense".into()), ..Default::default() },
        ListAggregatesOptions { filter: Some("version >".into()), ..Default::default() },
        ListAggregatesOptions { sort_text: Some("colour".into()), ..Default::default() },
    ] {
        match client.list_aggregates(options.clone()).await {
            Err(eventdbx_client::Error::Server(_)) => {}
            Err(other) => return Err(other.into()),
            Ok(_) => holds(false, || format!("accepted: {options:?}"))?,
        }
    }
    holds(client.list_aggregates(ListAggregatesOptions::default()).await.is_ok(), || {
        "the session is over".into()
    })
}
