//! Creating, appending, patching, archiving: what is answered and what is read afterwards.

use eventdbx_client::{
    AppendEventRequest, CreateAggregateRequest, ListEventsOptions, PatchEventRequest,
    PublishTarget, SetAggregateArchiveRequest,
};
use serde_json::{Value, json};

use crate::outcome::{Outcome, holds, is, refused, same, written};
use crate::world::World;

pub async fn create(world: &World) -> Outcome {
    let client = world.client().await?;
    let mut request = CreateAggregateRequest::new(
        "order",
        "create-1",
        "order_created",
        json!({"total": 12, "who": "kim", "gone": null, "tags": [1, 2]}),
    );
    request.note = Some("by phone".into());
    request.metadata = Some(json!({"@source": "shop"}));
    let made = written(world.mode, client.create_aggregate(request).await, |r| r.aggregate)?;
    let found = client.get_aggregate("order", "create-1").await?.aggregate.unwrap_or_default();
    is(&found["version"], 1)?;
    is(&found["state"], json!({"gone": "", "tags": "[1,2]", "total": "12", "who": "kim"}))?;
    same(found["merkle_root"].as_str().map(str::len), Some(64))?;
    same(found.get("archived"), None::<&Value>)?;
    same(made.unwrap_or_else(|| found.clone()), found)?;
    let options = ListEventsOptions::default();
    let event = client.list_events("order", "create-1", options).await?.events[0].clone();
    is(&event["metadata"]["note"], "by phone")?;
    is(&event["extensions"], json!({"@source": "shop"}))
}

pub async fn create_twice(world: &World) -> Outcome {
    let client = world.client().await?;
    let request = CreateAggregateRequest::new("order", "twice-1", "order_created", json!({"a": 1}));
    written(world.mode, client.create_aggregate(request.clone()).await, |r| r.aggregate)?;
    refused(
        client.create_aggregate(request).await,
        "schema_violation",
        "schema violation: aggregate order::twice-1 already exists",
    )?;
    let found = client.get_aggregate("order", "twice-1").await?.aggregate.unwrap_or_default();
    is(&found["version"], 1)
}

pub async fn append(world: &World) -> Outcome {
    let client = world.client().await?;
    let first = AppendEventRequest::new("order", "append-1", "order_created", json!({"n": 1}));
    written(world.mode, client.append_event(first).await, |r| r.event)?;
    let mut request =
        AppendEventRequest::new("order", "append-1", "order.paid", json!({"paid": true}));
    request.note = Some("by card".into());
    request.metadata = Some(json!({"@source": "web"}));
    request.token = Some(world.root.clone());
    let event = written(world.mode, client.append_event(request).await, |r| r.event)?;
    let page = client.list_events("order", "append-1", ListEventsOptions::default()).await?;
    let stored = page.events[1].clone();
    is(&stored["version"], 2)?;
    is(&stored["event_type"], "order_paid")?;
    is(&stored["event_type_raw"], "order.paid")?;
    is(&stored["payload"], json!({"paid": true}))?;
    is(&stored["extensions"], json!({"@source": "web"}))?;
    is(&stored["metadata"]["note"], "by card")?;
    is(&stored["metadata"]["issued_by"], json!({"group": "cli", "user": "root"}))?;
    let id = stored["metadata"]["event_id"].as_str().unwrap_or_default();
    holds(id.parse::<u64>().is_ok(), || format!("the event id is '{id}'"))?;
    same(event.unwrap_or_else(|| stored.clone()), stored)
}

/// Append makes the aggregate when there is none, and takes any JSON value.
pub async fn append_creates(world: &World) -> Outcome {
    let client = world.client().await?;
    for (id, payload, state) in [
        ("any-1", json!(7), json!({"_value": "7"})),
        ("any-2", Value::Null, json!({})),
        ("any-3", json!("text \u{1F600} \u{0}"), json!({"_value": "text \u{1F600} \u{0}"})),
        ("any-4", json!({"deep": {"er": [{"x": 1.5}]}}), json!({"deep": "{\"er\":[{\"x\":1.5}]}"})),
    ] {
        let request = AppendEventRequest::new("order", id, "order_created", payload.clone());
        let event = written(world.mode, client.append_event(request).await, |r| r.event)?;
        if let Some(event) = event {
            is(&event["payload"], payload)?;
        }
        let found = client.get_aggregate("order", id).await?.aggregate.unwrap_or_default();
        is(&found["version"], 1)?;
        is(&found["state"], state)?;
    }
    Ok(())
}

pub async fn patch(world: &World) -> Outcome {
    let client = world.client().await?;
    let state = json!({"address": {"city": "Rome", "zip": "9"}, "total": 1});
    let request = CreateAggregateRequest::new("order", "patch-1", "order_created", state);
    written(world.mode, client.create_aggregate(request).await, |r| r.aggregate)?;
    let mut request = PatchEventRequest::new(
        "order",
        "patch-1",
        "order_changed",
        json!([
            {"op": "replace", "path": "/address/zip", "value": "10"},
            {"op": "add", "path": "/gift", "value": true},
        ]),
    );
    request.note = Some("moved".into());
    request.metadata = Some(json!({"@source": "desk"}));
    request.publish_targets = vec![PublishTarget::new("search")];
    let event = written(world.mode, client.patch_event(request).await, |r| r.event)?;
    let page = client.list_events("order", "patch-1", ListEventsOptions::default()).await?;
    let stored = page.events[1].clone();
    is(&stored["payload"], json!({"address": {"city": "Rome", "zip": "10"}, "gift": true}))?;
    is(&stored["metadata"]["note"], "moved")?;
    same(event.unwrap_or_else(|| stored.clone()), stored)
}

pub async fn archive_and_restore(world: &World) -> Outcome {
    let client = world.client().await?;
    let request = CreateAggregateRequest::new("order", "put-away", "order_created", json!({}));
    written(world.mode, client.create_aggregate(request).await, |r| r.aggregate)?;
    let mut request = SetAggregateArchiveRequest::new("order", "put-away", true);
    request.note = Some("done with".into());
    let archived =
        written(world.mode, client.set_aggregate_archive(request).await, |r| r.aggregate)?;
    let found = client.get_aggregate("order", "put-away").await?.aggregate.unwrap_or_default();
    is(&found["archived"], true)?;
    same(archived.unwrap_or_else(|| found.clone()), found)?;
    let append = AppendEventRequest::new("order", "put-away", "order_paid", json!({}));
    match client.append_event(append.clone()).await {
        Err(eventdbx_client::Error::Server(error)) => same(error.code, "aggregate_archived")?,
        _ => holds(false, || "an archived aggregate took an event".into())?,
    }
    for _repeated in 0..2 {
        let request = SetAggregateArchiveRequest::new("order", "put-away", false);
        let restored =
            written(world.mode, client.set_aggregate_archive(request).await, |r| r.aggregate)?;
        same(restored.and_then(|document| document.get("archived").cloned()), None)?;
    }
    written(world.mode, client.append_event(append).await, |r| r.event)?;
    let found = client.get_aggregate("order", "put-away").await?.aggregate.unwrap_or_default();
    same((&found["version"], found.get("archived")), (&json!(2), None))
}

/// Targets are accepted whether or not such a plugin is there; a wrong one is named.
pub async fn publish_targets(world: &World) -> Outcome {
    let client = world.client().await?;
    let mut request = AppendEventRequest::new("order", "publish-1", "order_created", json!({}));
    request.publish_targets = vec![
        PublishTarget::new("search").with_mode("event-only").with_priority("high"),
        PublishTarget::new("audit").with_mode("ALL"),
        PublishTarget::new("mail"),
    ];
    written(world.mode, client.append_event(request.clone()).await, |r| r.event)?;
    let mut create = CreateAggregateRequest::new("order", "publish-2", "order_created", json!({}));
    create.publish_targets = request.publish_targets.clone();
    written(world.mode, client.create_aggregate(create).await, |r| r.aggregate)?;
    for (target, problem) in [
        (PublishTarget::new(" "), "publish target plugin cannot be empty"),
        (PublishTarget::new("p").with_mode("x"), "invalid publish mode 'x'"),
        (PublishTarget::new("p").with_priority("urgent"), "invalid publish priority 'urgent'"),
    ] {
        request.publish_targets = vec![target];
        let answer = client.append_event(request.clone()).await;
        refused(answer, "invalid_schema", &format!("invalid schema: {problem}"))?;
    }
    let found = client.get_aggregate("order", "publish-1").await?.aggregate.unwrap_or_default();
    is(&found["version"], 1)
}
