//! Snapshots: made, listed, fetched.

use eventdbx_client::{
    AppendEventRequest, CreateSnapshotRequest, GetSnapshotRequest, ListSnapshotsOptions,
};
use serde_json::json;

use crate::outcome::{Outcome, is, refused, same, written};
use crate::world::World;

pub async fn made_listed_fetched(world: &World) -> Outcome {
    let client = world.client().await?;
    let mut made = Vec::new();
    for version in 1..=2 {
        let payload = json!({"v": version});
        let request = AppendEventRequest::new("order", "snap-1", "order_moved", payload);
        written(world.mode, client.append_event(request).await, |r| r.event)?;
        let mut request = CreateSnapshotRequest::new("order", "snap-1");
        request.comment = (version == 1).then(|| "before the audit".into());
        // A brief server answers this one with the document all the same.
        let snapshot = client.create_snapshot(request).await?.snapshot;
        is(&snapshot["version"], version)?;
        is(&snapshot["state"], json!({"v": version.to_string()}))?;
        made.push(snapshot);
    }
    is(&made[0]["comment"], "before the audit")?;
    let of_aggregate = ListSnapshotsOptions {
        aggregate_type: Some("order".into()),
        aggregate_id: Some("snap-1".into()),
        ..Default::default()
    };
    same(client.list_snapshots(of_aggregate.clone()).await?.snapshots, json!(made))?;
    let second = ListSnapshotsOptions { version: Some(2), ..of_aggregate };
    same(client.list_snapshots(second).await?.snapshots, json!([made[1]]))?;
    let of_type =
        ListSnapshotsOptions { aggregate_type: Some("order".into()), ..Default::default() };
    same(client.list_snapshots(of_type).await?.snapshots, json!(made))?;
    for snapshot in made {
        let id = snapshot["snapshot_id"].as_str().and_then(|id| id.parse().ok());
        let mut request = GetSnapshotRequest::new(id.unwrap_or_default());
        request.token = Some(world.reader.clone());
        let fetched = client.get_snapshot(request).await?;
        same((fetched.found, fetched.snapshot), (true, Some(snapshot)))?;
    }
    Ok(())
}

pub async fn none(world: &World) -> Outcome {
    let client = world.client().await?;
    let missing = client.get_snapshot(GetSnapshotRequest::new(1)).await?;
    same((missing.found, missing.snapshot), (false, None))?;
    let absent = ListSnapshotsOptions { version: Some(99), ..Default::default() };
    same(client.list_snapshots(absent).await?.snapshots, json!([]))?;
    let no_type =
        ListSnapshotsOptions { aggregate_id: Some("snap-1".into()), ..Default::default() };
    refused(
        client.list_snapshots(no_type).await,
        "invalid_schema",
        "invalid schema: aggregate type is required when providing aggregate id",
    )?;
    refused(
        client.create_snapshot(CreateSnapshotRequest::new("order", "snap-9")).await,
        "aggregate_not_found",
        "aggregate not found",
    )
}
