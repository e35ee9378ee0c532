//! Schemas through the client: put in force and listed, all or none; what they refuse, with the
//! codes and words of the protocol; what they hide; published and reloaded.
//!
//! Each check puts a set of its own in force and leaves none behind.

use eventdbx_client::{
    AppendEventRequest, CreateAggregateRequest, EventDbxClient, ListAggregatesOptions,
    ListEventsOptions, ListSchemasOptions, PatchEventRequest, ReplaceSchemasRequest,
    SelectAggregateRequest, TenantReloadRequest, TenantSchemaPublishRequest,
};
use serde_json::{Value, json};

use crate::outcome::{Failed, Outcome, column, holds, is, refused, same, written};
use crate::world::World;

/// What is in force for parcels in these checks, as a user writes it.
fn parcels() -> Value {
    json!({"parcel": {
        "column_types": {
            "weight": {"type": "DECIMAL(6, 2)", "range": {"min": 0}},
            "mail": {"type": "text", "required": true, "format": "email"},
            "phone": "string"
        },
        "field_locks": ["code"],
        "hidden_fields": ["phone"],
        "events": {"parcel_sent": {"fields": []}, "parcel_signed": {"fields": ["mail", "by"]}}
    }})
}

async fn replace(client: &EventDbxClient, schemas: Value) -> Result<u32, Failed> {
    Ok(client.replace_schemas(ReplaceSchemasRequest::new(schemas)).await?.replaced)
}

async fn listed(client: &EventDbxClient) -> Result<Value, Failed> {
    Ok(client.list_schemas(ListSchemasOptions::default()).await?.schemas)
}

/// A set comes back complete, in canonical form, and the same when it is sent back.
pub async fn round_trip(world: &World) -> Outcome {
    let client = world.client().await?;
    same(replace(&client, json!({})).await?, 0_u32)?;
    same(listed(&client).await?, json!({}))?;
    same(replace(&client, parcels()).await?, 1_u32)?;
    let found = listed(&client).await?;
    let parcel = &found["parcel"];
    is(&parcel["aggregate"], "parcel")?;
    same(&parcel["snapshot_threshold"], &Value::Null)?;
    same((&parcel["locked"], &parcel["hidden"]), (&json!(false), &json!(false)))?;
    let columns = json!({
        "mail": {"type": "text", "required": true, "format": "email"},
        "phone": "text",
        "weight": {"type": "decimal(6,2)", "range": {"min": "0", "max": null}}
    });
    same(&parcel["column_types"], &columns)?;
    is(&parcel["events"]["parcel_signed"]["fields"], json!(["by", "mail"]))?;
    same(replace(&client, found.clone()).await?, 1_u32)?;
    same(listed(&client).await?, found)?;
    same(replace(&client, json!({})).await?, 0_u32)
}

/// One schema among many that cannot be read changes none of them.
pub async fn all_or_none(world: &World) -> Outcome {
    let client = world.client().await?;
    replace(&client, parcels()).await?;
    let before = listed(&client).await?;
    let mut many = serde_json::Map::new();
    for number in 0..40 {
        let schema = json!({"events": {"made": {"fields": []}}, "column_types": {"n": "integer"}});
        many.insert(format!("kind_{number:02}"), schema);
    }
    many["kind_20"]["column_types"]["n"] = json!("colour");
    refused(
        client.replace_schemas(ReplaceSchemasRequest::new(Value::Object(many.clone()))).await,
        "serialization",
        "serialization error: invalid column type 'colour' at /kind_20/column_types/n",
    )?;
    same(&listed(&client).await?, &before)?;
    for wrong in [json!([]), json!("{}"), json!(null), json!({"parcel": 1})] {
        match client.replace_schemas(ReplaceSchemasRequest::new(wrong.clone())).await {
            Err(eventdbx_client::Error::Server(error)) => {
                same(error.code.as_str(), "serialization")?;
            }
            Err(other) => return Err(other.into()),
            Ok(_) => holds(false, || format!("taken for a set of schemas: {wrong}"))?,
        }
    }
    same(&listed(&client).await?, &before)?;
    many["kind_20"]["column_types"]["n"] = json!("integer");
    same(replace(&client, Value::Object(many)).await?, 40_u32)?;
    same(replace(&client, json!({})).await?, 0_u32)
}

/// Whoever may only read orders may neither see nor change schemas.
pub async fn forbidden(world: &World) -> Outcome {
    let reader = EventDbxClient::connect(world.settings(&world.reader)).await?;
    let (code, message) = ("unauthorized", "unauthorized");
    refused(reader.list_schemas(ListSchemasOptions::default()).await, code, message)?;
    let wipe = ReplaceSchemasRequest::new(json!({}));
    refused(reader.replace_schemas(wipe).await, code, message)?;
    same(reader.get_aggregate("order", "nobody").await?.found, false)
}

/// Events that a schema refuses are refused with its words, and nothing is written.
pub async fn violations(world: &World) -> Outcome {
    let client = world.client().await?;
    replace(&client, parcels()).await?;
    let violation = |text: &str| format!("schema violation: {text}");
    for (event, payload, problem) in [
        ("parcel_sent", json!({}), "field mail is required"),
        ("parcel_sent", json!({"mail": 5}), "field mail must be a string"),
        ("parcel_sent", json!({"mail": "nobody"}), "field mail must be a valid email address"),
        (
            "parcel_sent",
            json!({"mail": "a@b.org", "weight": "1.125"}),
            "field weight must have at most 2 decimal places",
        ),
        ("parcel_sent", json!({"mail": "a@b.org", "weight": -1}), "field weight must be >= 0"),
        (
            "parcel_sent",
            json!({"mail": "a@b.org", "code": 1}),
            "field code is locked for aggregate parcel",
        ),
        (
            "parcel_signed",
            json!({"mail": "a@b.org"}),
            "missing required field by for event parcel_signed",
        ),
        (
            "parcel_signed",
            json!({"mail": "a@b.org", "by": "Ann", "at": 1}),
            "field at is not permitted for event parcel_signed",
        ),
        ("parcel_lost", json!({}), "event parcel_lost is not defined for aggregate parcel"),
        ("parcel_sent", json!([1]), "aggregate parcel expects object payload for validation"),
    ] {
        let create = CreateAggregateRequest::new("parcel", "p-1", event, payload.clone());
        let answer = client.create_aggregate(create).await;
        refused(answer, "schema_violation", &violation(problem))?;
        let append = AppendEventRequest::new("parcel", "p-1", event, payload);
        let answer = client.append_event(append).await;
        refused(answer, "schema_violation", &violation(problem))?;
    }
    same(client.get_aggregate("parcel", "p-1").await?.found, false)?;
    let good = json!({"mail": "a@b.org", "weight": "1.5"});
    let create = CreateAggregateRequest::new("parcel", "p-1", "parcel_sent", good);
    written(world.mode, client.create_aggregate(create).await, |r| r.aggregate)?;
    let heavier = json!([{"op": "replace", "path": "/weight", "value": "heavy"}]);
    let patch = PatchEventRequest::new("parcel", "p-1", "parcel_sent", heavier);
    let answer = client.patch_event(patch).await;
    refused(answer, "schema_violation", &violation("field weight must be a decimal value"))?;
    let lighter = json!([{"op": "replace", "path": "/weight", "value": "0.75"}]);
    let patch = PatchEventRequest::new("parcel", "p-1", "parcel_sent", lighter);
    written(world.mode, client.patch_event(patch).await, |r| r.event)?;
    let found = client.get_aggregate("parcel", "p-1").await?.aggregate.unwrap_or_default();
    same((&found["version"], &found["state"]["weight"]), (&json!(2), &json!("0.75")))?;
    let mut locked = parcels();
    locked["parcel"]["locked"] = json!(true);
    replace(&client, locked).await?;
    let append =
        AppendEventRequest::new("parcel", "p-1", "parcel_sent", json!({"mail": "a@b.org"}));
    let problem = violation("aggregate parcel is locked for updates");
    refused(client.append_event(append).await, "schema_violation", &problem)?;
    same(replace(&client, json!({})).await?, 0_u32)
}

/// A hidden field is on no way out, nor is anything of a hidden type.
pub async fn hidden(world: &World) -> Outcome {
    let client = world.client().await?;
    let mut schemas = parcels();
    schemas["vault"] = json!({"hidden": true, "events": {"filled": {"fields": []}}});
    same(replace(&client, schemas).await?, 2_u32)?;
    let payload = json!({"mail": "a@b.org", "phone": "555"});
    let create = CreateAggregateRequest::new("parcel", "p-2", "parcel_sent", payload);
    if let Some(made) = written(world.mode, client.create_aggregate(create).await, |r| r.aggregate)?
    {
        same(&made["state"], &json!({"mail": "a@b.org"}))?;
    }
    let found = client.get_aggregate("parcel", "p-2").await?.aggregate.unwrap_or_default();
    same(&found["state"], &json!({"mail": "a@b.org"}))?;
    let fields = vec!["mail".into(), "phone".into()];
    let select = SelectAggregateRequest::new("parcel", "p-2", fields);
    let selected = client.select_aggregate(select).await?.selection.unwrap_or_default();
    same(selected, json!({"mail": "a@b.org", "phone": null}))?;
    let events = client.list_events("parcel", "p-2", ListEventsOptions::default()).await?.events;
    same(&events[0]["payload"], &json!({"mail": "a@b.org"}))?;
    let filter =
        |text: &str| ListAggregatesOptions { filter: Some(text.into()), ..Default::default() };
    let by_phone = client.list_aggregates(filter("phone = \"555\"")).await?.aggregates;
    same(by_phone, json!([]))?;
    let create = CreateAggregateRequest::new("vault", "v-1", "filled", json!({"gold": 1}));
    written(world.mode, client.create_aggregate(create).await, |r| r.aggregate)?;
    same(client.get_aggregate("vault", "v-1").await?.found, false)?;
    let missing = ("aggregate_not_found", "aggregate not found");
    let events = client.list_events("vault", "v-1", ListEventsOptions::default()).await;
    refused(events, missing.0, missing.1)?;
    refused(client.verify_aggregate("vault", "v-1").await, missing.0, missing.1)?;
    let all = client.list_aggregates(filter("aggregate_id = \"v-1\"")).await?.aggregates;
    same(column(&all, "aggregate_type"), Vec::<String>::new())?;
    same(replace(&client, json!({})).await?, 0_u32)?;
    same(client.get_aggregate("vault", "v-1").await?.found, true)
}

/// What is in force is published, once; a reload changes nothing of it.
pub async fn published_and_reloaded(world: &World) -> Outcome {
    let client = world.client().await?;
    replace(&client, parcels()).await?;
    let mut request = TenantSchemaPublishRequest::new("default");
    request.reason = Some("first".into());
    request.actor = Some("ann".into());
    request.labels = vec!["one".into(), "two".into()];
    request.activate = true;
    let first = client.tenant_schema_publish(request.clone()).await?;
    same((first.activated, first.skipped), (true, false))?;
    holds(first.version_id.starts_with('v'), || first.version_id.clone())?;
    let again = client.tenant_schema_publish(request.clone()).await?;
    same((&again.version_id, again.skipped), (&first.version_id, true))?;
    request.force = true;
    let forced = client.tenant_schema_publish(request).await?;
    same(forced.skipped, false)?;
    holds(forced.version_id != first.version_id, || "a forced version has the old id".into())?;
    let before = listed(&client).await?;
    same(client.tenant_reload(TenantReloadRequest::new("default")).await?.reloaded, true)?;
    same(listed(&client).await?, before)?;
    refused(
        client.tenant_schema_publish(TenantSchemaPublishRequest::new("nowhere")).await,
        "config",
        "configuration error: domain 'nowhere' does not exist",
    )?;
    let reader = EventDbxClient::connect(world.settings(&world.reader)).await?;
    let (code, message) = ("unauthorized", "unauthorized");
    refused(reader.tenant_reload(TenantReloadRequest::new("default")).await, code, message)?;
    let publish = TenantSchemaPublishRequest::new("default");
    refused(reader.tenant_schema_publish(publish).await, code, message)?;
    same(replace(&client, json!({})).await?, 0_u32)
}
